"""The rules that a row of ranked completions must obey, and the pairs that its judgements leave.

Knows the responses and comparisons of one row as plain values; does not know files, tokens or models.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations
from typing import Any, NamedTuple

from trainer.data.rows import Unusable

Pair = tuple[int, int]


class Judged(NamedTuple):
    """What labelers said in one row.

    Attributes:
        pairs: (chosen, rejected) of every judgement that is no tie.
        ties: both positions of every one that is.
        labelers: who said each of ``pairs``; an empty string where nobody is named.
        tie_labelers: the same of ``ties``.
    """

    pairs: list[Pair]
    ties: list[Pair]
    labelers: list[str]
    tie_labelers: list[str]


def responses_of(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the row's completions as they stand.

    Raises:
        Unusable: there are fewer than two, they are not objects, or they all say the same.
    """
    responses = fields.get("responses")
    if not isinstance(responses, list) or not all(isinstance(response, dict) for response in responses):
        raise Unusable("`responses` must be a list of objects")
    if len(responses) < 2:
        raise Unusable(f"`responses` needs at least two entries to compare: got {len(responses)}")
    if all(response.get("text") == responses[0].get("text") for response in responses):
        raise Unusable("all completions are the same: nothing can be learned from ranking them")
    return responses


def completion_of(response: dict[str, Any], number: int) -> tuple[str, bool]:
    """Return a completion's text and whether it finished; an empty text is one only if it finished.

    Raises:
        Unusable: a field is missing, of the wrong type, or the completion has no token at all.
    """
    text, finished = response.get("text"), response.get("finished")
    finished = True if finished is None else finished
    if not isinstance(text, str):
        raise Unusable(f"a response's `text` must be a string: response {number} has {type(text).__name__}")
    if not isinstance(finished, bool):
        raise Unusable(f"a response's `finished` must be true or false: response {number}")
    if not text and not finished:
        raise Unusable(f"an empty completion that did not finish has no token: response {number}")
    return text, finished


def judged_pairs(fields: dict[str, Any], responses: list[dict[str, Any]]) -> Judged:
    """Return every judgement of a row with the name of who made it: its ``annotator``, or the row's ``labeler``.

    Judgements of different labelers may contradict each other and are all kept; so may votes of one labeler on single
    pairs, as crowds give them. One labeler who judged *every* pair gave a ranking, and a ranking has no circle.
    A row without ``comparisons`` whose responses all have a ``rank`` (0 is best) is expanded from the ranks.

    Raises:
        Unusable: wrong types, unknown positions, a pair that one labeler judged twice, or one labeler's judgements
            of all pairs that go in a circle.
    """
    comparisons = fields.get("comparisons")
    if comparisons is None:
        pairs, ties = _pairs_by_rank(responses)
        name = fields.get("labeler") if isinstance(fields.get("labeler"), str) else ""
        return Judged(pairs, ties, [str(name)] * len(pairs), [str(name)] * len(ties))
    if not isinstance(comparisons, list):
        raise Unusable(f"`comparisons` must be a list: got {type(comparisons).__name__}")
    found = Judged([], [], [], [])
    by_labeler: defaultdict[str | None, list[Pair]] = defaultdict(list)
    judged: set[tuple[str | None, int, int]] = set()
    for comparison in comparisons:
        first, second, winner, labeler = _judgement(comparison, len(responses))
        key = (labeler, min(first, second), max(first, second))
        if key in judged:
            raise Unusable(f"duplicate pair: {first} and {second} were judged twice by the same labeler")
        judged.add(key)
        if winner == "tie":
            found.ties.append((first, second))
            found.tie_labelers.append(labeler or "")
        else:
            pair = (first, second) if winner == "a" else (second, first)
            found.pairs.append(pair)
            found.labelers.append(labeler or "")
            by_labeler[labeler].append(pair)
    every_pair = len(responses) * (len(responses) - 1) // 2
    judgements = Counter(labeler for labeler, _, _ in judged)
    for labeler, own in by_labeler.items():
        if judgements[labeler] == every_pair and (member := _circle(own)) is not None:
            raise Unusable(f"cyclic preferences: one labeler's judgements lead from response {member} back to it")
    return found


def features_of(responses: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return what rows say of their completions (``features``: name -> number), by name; what one lacks is 0.

    Raises:
        Unusable: it is not an object of numbers.
    """
    said = [response.get("features") or {} for response in responses]
    for each in said:
        if not isinstance(each, dict) or not all(isinstance(value, int | float) for value in each.values()):
            raise Unusable(f"a response's `features` must be an object of numbers: got {each!r}")
    return {
        name: [float(each.get(name, 0)) for each in said] for name in sorted({name for each in said for name in each})
    }


def displayed_of(fields: dict[str, Any], count: int) -> dict[int, int]:
    """Return the place at which each completion was displayed (``display_order``); empty where the row does not say.

    Raises:
        Unusable: it is not an order of all the row's completions.
    """
    order = fields.get("display_order")
    if not order:
        return {}
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(count))):
        raise Unusable(f"`display_order` must name each of the {count} responses once: got {order!r}")
    return {int(response): place for place, response in enumerate(order)}


def _judgement(comparison: Any, responses: int) -> tuple[int, int, str, str | None]:
    if not isinstance(comparison, dict):
        raise Unusable("a comparison must be an object with `a`, `b` and `winner`")
    first, second, winner = comparison.get("a"), comparison.get("b"), comparison.get("winner")
    for index in (first, second):
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < responses:
            raise Unusable(f"unknown response in a comparison: {index!r}, expected 0 to {responses - 1}")
    if first == second:
        raise Unusable(f"a comparison of response {first} with itself")
    if winner not in ("a", "b", "tie"):
        raise Unusable(f"`winner` must be a, b or tie: got {winner!r}")
    labeler = comparison.get("annotator")
    if labeler is not None and not isinstance(labeler, str | int):
        raise Unusable(f"`annotator` must be a string: got {type(labeler).__name__}")
    return int(first or 0), int(second or 0), str(winner), None if labeler is None else str(labeler)


def _pairs_by_rank(responses: list[dict[str, Any]]) -> tuple[list[Pair], list[Pair]]:
    ranks = [response.get("rank") for response in responses]
    if not all(isinstance(rank, int) and not isinstance(rank, bool) for rank in ranks):
        raise Unusable("no `comparisons`, and not every response has an integer `rank` to make them from")
    known = [int(rank or 0) for rank in ranks]
    indices = range(len(known))
    pairs = [(first, second) for first in indices for second in indices if known[first] < known[second]]
    return pairs, [(first, second) for first, second in combinations(indices, 2) if known[first] == known[second]]


def _circle(pairs: list[Pair]) -> int | None:
    """Return a member of a directed cycle, or None: repeatedly drop what nothing is preferred to."""
    beaten_by: defaultdict[int, set[int]] = defaultdict(set)
    left = {member for pair in pairs for member in pair}
    for chosen, rejected in pairs:
        beaten_by[rejected].add(chosen)
    while free := {member for member in left if not beaten_by[member] & left}:
        left -= free
    return min(left, default=None)
