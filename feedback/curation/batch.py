"""Many prompts at once, in memory: sameness, caps and splits, with the verdicts that the ledger's pool would give.

For imports and for measuring; live traffic goes through `feedback.prompts`, one prompt at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from feedback.curation.prefixes import PrefixIndex
from feedback.curation.rules import Rules, split_of, text_of
from feedback.records import Message, Split

Outcome = Literal["kept", "duplicate", "customer cap"]


class Verdict(NamedTuple):
    """What becomes of one prompt, and the split of its customer."""

    outcome: Outcome
    split: Split


VERDICTS: dict[Split, dict[Outcome, Verdict]] = {
    split: {outcome: Verdict(outcome, split) for outcome in get_args(Outcome)} for split in get_args(Split)
}
"""All there are. Made once: a million new ones would keep the garbage collector busy with everything else in memory."""


def judge(asked: Iterable[tuple[str, Sequence[Message]]], rules: Rules) -> Iterator[Verdict]:
    """Yield a verdict on each (customer, conversation), in order; earlier ones count for later ones."""
    index = PrefixIndex()
    kept: dict[str, int] = {}
    verdicts: dict[str, dict[Outcome, Verdict]] = {}
    for customer, messages in asked:
        verdict = verdicts.get(customer)
        if verdict is None:
            verdict = verdicts[customer] = VERDICTS[split_of(customer, rules)]
        text = text_of(messages)
        before = kept.get(customer, 0)
        if before >= rules.most_per_customer:
            yield verdict["duplicate" if index.repeats(text) else "customer cap"]
        elif index.add(text):
            kept[customer] = before + 1
            yield verdict["kept"]
        else:
            yield verdict["duplicate"]
