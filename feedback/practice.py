"""Practice: items with a known answer and an explanation, for labelers who begin.

Ten are built in; operators add their own as gold checks marked for practice. An answer is judged by the pairs that must
hold, the first answer to an item counts, and nothing of it ever becomes a label.
"""

from functools import cache
from pathlib import Path
from typing import cast

import msgspec

from feedback import comparisons, gold, keys, labelers
from feedback.client import Ledger
from feedback.errors import InvalidRecord, NotFound
from feedback.records import GoldCheck, Message, Outcome, utc_now

TEXT = Path(__file__).parent / "texts" / "practice.json"
Pair = tuple[int, int]


class BuiltIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item as the package ships it."""

    id: str
    prompt: str
    completions: list[str]
    pairs: list[Pair]
    explanation: str


class Item(msgspec.Struct, frozen=True):
    """Something to practise on."""

    id: str
    messages: list[Message]
    completions: list[str]
    pairs: list[Pair]
    """(better, worse) indices that a good ranking orders strictly; all other pairs are a matter of taste."""
    explanation: str


class Progress(msgspec.Struct, frozen=True):
    """How far a labeler has come."""

    answered: int
    right: int
    of: int
    passed: bool


@cache
def built_in() -> tuple[Item, ...]:
    """Return the ten items that are shipped."""
    found = msgspec.json.decode(TEXT.read_bytes(), type=list[BuiltIn])
    return tuple(
        Item(each.id, [Message(role="user", content=each.prompt)], each.completions, each.pairs, each.explanation)
        for each in found
    )


def items(ledger: Ledger) -> list[Item]:
    """Return all items: the built-in ones, then those that operators added."""
    checks = [check for check in gold.all_checks(ledger) if check.practice]
    found = comparisons.get_many(ledger, [check.comparison_id for check in checks])
    added = [
        Item(check.comparison_id, at.messages, [each.text for each in at.completions], check.pairs, check.explanation)
        for check, at in zip(checks, found, strict=True)
        if at is not None
    ]
    return [*built_in(), *added]


def progress(ledger: Ledger, labeler: str, pass_percent: int) -> tuple[Progress, Item | None]:
    """Return how far a labeler is, and the next item they have not answered, or None."""
    return _progress(_answers(ledger, labeler), items(ledger), labelers.standing(ledger, labeler), pass_percent)


def answer(
    ledger: Ledger, labeler: str, item_id: str, ranking: list[list[int]], outcome: Outcome, pass_percent: int
) -> tuple[Item, list[Pair], Progress]:
    """Judge an answer; return the item, the pairs that it gets wrong, and the progress.

    Args:
        ledger: where progress is kept.
        labeler: who answers.
        item_id: what they answer.
        ranking: tie groups, best first; indices that are left out are not compared.
        outcome: of the whole.
        pass_percent: share of all items that must be right to pass, percent.

    Raises:
        NotFound: no such item.
        InvalidRecord: the ranking names a completion twice, or one that is not there.
    """
    every = items(ledger)
    item = next((each for each in every if each.id == item_id), None)
    if item is None:
        raise NotFound(f"no practice item {item_id!r}")
    named = [index for group in ranking for index in group]
    if len(set(named)) != len(named) or not set(named) <= set(range(len(item.completions))):
        raise InvalidRecord(f"ranking {ranking} must name each of 0..{len(item.completions) - 1} at most once")
    check = GoldCheck(comparison_id=item.id, created_at=utc_now(), pairs=item.pairs, source="operator")
    wrong = gold.violated(check, ranking, outcome)
    with ledger.reach() as client:
        client.hsetnx(keys.practice(labeler), item_id, int(not wrong))
    standing = labelers.standing(ledger, labeler)
    state, _ = _progress(_answers(ledger, labeler), every, standing, pass_percent)
    if state.passed and not standing.practice_passed:
        labelers.passed_practice(ledger, labeler)
    return item, wrong, state


def start_over(ledger: Ledger, labeler: str) -> None:
    """Forget what a labeler answered; who has passed stays passed."""
    with ledger.reach() as client:
        client.delete(keys.practice(labeler))


def _answers(ledger: Ledger, labeler: str) -> dict[str, str]:
    with ledger.reach() as client:
        return cast(dict[str, str], client.hgetall(keys.practice(labeler)))


def _progress(
    given: dict[str, str], every: list[Item], standing: labelers.Standing, pass_percent: int
) -> tuple[Progress, Item | None]:
    answered = [each for each in every if each.id in given]
    right = sum(given[each.id] == "1" for each in answered)
    done = len(answered) == len(every) and 100 * right >= pass_percent * len(every)
    waiting = next((each for each in every if each.id not in given), None)
    return Progress(len(answered), right, len(every), done or standing.practice_passed), waiting
