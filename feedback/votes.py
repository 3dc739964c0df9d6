"""Customers' votes between two answers: a finished comparison and its label, stored like labelers' in one move.

Knows which answers make a fair pair and what a verdict means as a ranking; does not know how the pair was asked for.
How much votes may weigh in training is decided where a snapshot is built.
"""

from typing import Literal, cast

from feedback import keys, labels
from feedback.client import Ledger, encode
from feedback.errors import Conflict, InvalidRecord
from feedback.records import Battle, Comparison, Completion, Interaction, Label, Split, utc_now

GROUP = "customer"
"""The labeler group of customers who vote."""
BATTLE_S = 24 * 3600
"""Seconds for which a battle can be asked and voted on."""
Verdict = Literal["a", "b", "tie", "both_bad"]
RANKINGS: dict[Verdict, list[list[int]]] = {"a": [[0], [1]], "b": [[1], [0]], "tie": [[0, 1]], "both_bad": [[0, 1]]}


def open_battle(ledger: Ledger, battle: Battle) -> None:
    """Store a battle for `BATTLE_S`."""
    with ledger.reach() as client:
        client.set(keys.battle(battle.id), encode(battle), ex=BATTLE_S)


def find_battle(ledger: Ledger, id: str) -> Battle | None:
    """Return the battle with this id, or None if there is none or its time is over."""
    return ledger.get(keys.battle(id), Battle)


def void_battle(ledger: Ledger, battle: Battle) -> None:
    """End a battle before its time; it can be voted on no more."""
    with ledger.reach() as client:
        client.delete(keys.battle(battle.id))


def to_comparison(id: str, prompt_id: str, split: Split, a: Interaction, b: Interaction) -> Comparison:
    """Return two answers to one prompt as a comparison that needs no sampling.

    Raises:
        InvalidRecord: the prompts differ, or it is one answer twice.
        Conflict: an answer is not complete.
    """
    if a.id == b.id or a.messages != b.messages:
        raise InvalidRecord("only two different answers to the same prompt can be compared")
    for each in (a, b):
        if each.finish_reason not in ("stop", "length"):
            raise Conflict(f"answer {each.id} is not complete; wait for it or ask again")
    return Comparison(
        id=id,
        created_at=utc_now(),
        prompt_id=prompt_id,
        customer=a.customer,
        messages=a.messages,
        split=split,
        key_id=a.key_id,
        k=2,
        models=[a.policy_version, b.policy_version],
        completions=[_completion(a), _completion(b)],
    )


def to_label(id: str, comparison: Comparison, verdict: Verdict, *, blind: bool) -> Label:
    """Return a verdict on a comparison of two as the label of its customer."""
    return Label(
        id=id,
        created_at=utc_now(),
        comparison_id=comparison.id,
        labeler=comparison.customer,
        labeler_group=GROUP,
        ranking=RANKINGS[verdict],
        quality=[1, 1] if verdict == "both_bad" else [],
        flags={"all_bad": [0, 1]} if verdict == "both_bad" else {},
        note="" if blind else "versions were in sight",
    )


def take(ledger: Ledger, comparison: Comparison, label: Label, mark: str) -> bool:
    """Store a vote, with its comparison; return False if this very vote was taken before.

    Args:
        ledger: where to.
        comparison: of the two answers.
        label: the verdict on it; its id is the vote's.
        mark: key that remembers that the vote was taken.

    Raises:
        Conflict: another vote was taken under this mark; nothing changes.
    """
    labels.check(label, comparison)
    outcome, _ = cast(
        list[str],
        ledger.run(
            "vote",
            [mark, keys.comparison(comparison.id), keys.LABELS],
            [label.id, encode(comparison), encode(label), keys.MONTH_S],
        ),
    )
    if outcome == "voted":
        raise Conflict("this was voted on before; a vote is not changed afterwards")
    return outcome == "taken"


def _completion(answer: Interaction) -> Completion:
    seed, temperature = answer.sampling.get("seed"), answer.sampling.get("temperature")
    return Completion(
        text=answer.completion,
        policy_version=answer.policy_version,
        seed=seed if isinstance(seed, int) else 0,
        temperature=float(temperature) if isinstance(temperature, int | float) else 1.0,
        finished=answer.finish_reason == "stop",
        tokens=answer.completion_tokens,
    )
