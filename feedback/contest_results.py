"""How contests stand: win rates with intervals, from what labelers said so far.

Reads comparisons and labels of contests, and closes those to which nothing more will come.
"""

from collections.abc import Iterator, Sequence
from typing import cast

import msgspec

from feedback import comparisons, contests, keys, labelers, labels
from feedback.client import Ledger
from feedback.contests import comparison_id
from feedback.records import Comparison, Contest, Label

RESAMPLES = 2000
READ_AT_ONCE = 200
"""Comparisons read at a time."""


class WinRate(msgspec.Struct, frozen=True):
    """Share of prompts won, ties as half, with its 95 % interval over prompts.

    The bounds are None where all prompts say the same, because drawing from them again says nothing of others.
    """

    mean: float | None
    low: float | None
    high: float | None
    prompts: int
    labels: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a contest stands."""

    contest: Contest
    win_rate: WinRate
    """Of ``a`` against ``b``."""
    by_group: dict[str, WinRate]
    """The same by labeler group; prompts on which both said the same count in each."""
    same: int
    """Prompts on which both policies said the same: ties that nobody was asked about."""
    finished: int
    """Prompts with all the judgements that they are to get, those included."""
    lost: int
    """Prompts that could not be sampled, or whose customer was erased."""


class _Standing(msgspec.Struct):
    said: list[tuple[Comparison, list[Label]]]
    same: int = 0
    finished: int = 0
    lost: int = 0


def settle(ledger: Ledger) -> int:
    """Close the contests to which nothing more will come; return how many."""
    closed = 0
    for contest in contests.list_contests(ledger):
        if contest.state == "running":
            found = _read(ledger, contest)
            if found.finished + found.lost >= len(contest.prompts):
                contests.move(ledger, contest, "done")
                closed += 1
    return closed


def result(ledger: Ledger, contest: Contest) -> Result:
    """Return how a contest stands: what labelers said so far, without those in quarantine when they said it."""
    found = _read(ledger, contest)
    groups = sorted({label.labeler_group for _, given in found.said for label in given})
    ties = [[0.5]] * found.same

    def rate(group: str | None) -> WinRate:
        points = [
            [score(label, each, contest.a) for label in given if group in (None, label.labeler_group)]
            for each, given in found.said
        ]
        return win_rate([each for each in points if each] + ties, unasked=found.same)

    return Result(
        contest=contest,
        win_rate=rate(None),
        by_group={group: rate(group) for group in groups},
        same=found.same,
        finished=found.finished,
        lost=found.lost,
    )


def _read(ledger: Ledger, contest: Contest) -> _Standing:
    found = _Standing([])
    waiting = _waiting(ledger, contest)
    quarantines = labelers.quarantined(ledger)
    for id, comparison in _comparisons(ledger, contest):
        if comparison is None or not comparison.completions:
            found.lost += contest.state != "planned" and id not in waiting
        elif len({each.text.strip() for each in comparison.completions}) == 1:
            found.same += 1
            found.finished += 1
        else:
            given = labels.of(ledger, id)
            found.finished += len(given) >= contest.overlap
            kept = [
                each for each in given if not labelers.in_quarantine(quarantines.get(each.labeler, []), each.created_at)
            ]
            found.said.append((comparison, kept))
    return found


def score(label: Label, comparison: Comparison, version: str) -> float:
    """Return what a label says of a policy against the other one: 1 better, 0 worse, 0.5 as good."""
    place = {index: position for position, group in enumerate(label.ranking) for index in group}
    ours, theirs = [0, 1] if comparison.completions[0].policy_version == version else [1, 0]
    return 0.5 if place[ours] == place[theirs] else float(place[ours] < place[theirs])


def win_rate(points: Sequence[Sequence[float]], unasked: int = 0) -> WinRate:
    """Return the mean over prompts of the mean over labels, with its percentile bootstrap interval over prompts.

    Prompts are drawn as a whole (Efron and Tibshirani 1993, chapter 13): labels of one prompt hang together.

    Args:
        points: of each prompt, what each label gives.
        unasked: how many of the prompts nobody was asked about; their points are no labels.
    """
    means = [sum(each) / len(each) for each in points]
    count = sum(len(each) for each in points) - unasked
    if not means:
        return WinRate(None, None, None, 0, 0)
    mean = sum(means) / len(means)
    if len(set(means)) == 1:
        return WinRate(mean, None, None, len(means), count)
    import numpy as np
    from scipy.stats import bootstrap

    interval = bootstrap(
        (np.array(means),),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return WinRate(mean, float(interval.low), float(interval.high), len(means), count)


def _comparisons(ledger: Ledger, contest: Contest) -> Iterator[tuple[str, Comparison | None]]:
    ids = [comparison_id(contest, prompt) for prompt in contest.prompts]
    for first in range(0, len(ids), READ_AT_ONCE):
        page = ids[first : first + READ_AT_ONCE]
        yield from zip(page, comparisons.get_many(ledger, page), strict=True)


def _waiting(ledger: Ledger, contest: Contest) -> set[str]:
    """Return the ids of the contest's comparisons that still wait for completions."""
    ids = [comparison_id(contest, prompt) for prompt in contest.prompts]
    with ledger.reach() as client:
        scores = cast(list[float | None], client.zmscore(keys.SAMPLING, ids))
    return {id for id, place in zip(ids, scores, strict=True) if place is not None}
