"""Many prompts at once, in memory: sameness, caps and splits, with the verdicts that the ledger's pool would give.

For imports and for measuring; live traffic goes through `feedback.prompts`, one prompt at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from feedback.curation.prefixes import PrefixIndex
from feedback.curation.rules import Rules, split_of, text_of
from feedback.records import Message, Split


class Verdict(NamedTuple):
    """What becomes of one prompt, and the split of its customer."""

    outcome: Literal["kept", "duplicate", "customer cap"]
    split: Split


def judge(asked: Iterable[tuple[str, Sequence[Message]]], rules: Rules) -> Iterator[Verdict]:
    """Yield a verdict on each (customer, conversation), in order; earlier ones count for later ones."""
    index = PrefixIndex()
    kept: dict[str, int] = {}
    splits: dict[str, Split] = {}
    for customer, messages in asked:
        split = splits.get(customer)
        if split is None:
            split = splits[customer] = split_of(customer, rules)
        text = text_of(messages)
        if index.repeats(text):
            yield Verdict("duplicate", split)
        elif kept.get(customer, 0) >= rules.most_per_customer:
            yield Verdict("customer cap", split)
        else:
            index.add(text)
            kept[customer] = kept.get(customer, 0) + 1
            yield Verdict("kept", split)
