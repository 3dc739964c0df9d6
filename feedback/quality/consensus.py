"""Comparisons on which labelers agree so clearly that they can check others, or so little that somebody must decide.

Pure rules over the labels of one comparison.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import permutations
from typing import NamedTuple

from feedback.quality import agreement, detection
from feedback.quality.gathering import Given
from feedback.quality.report import votes
from feedback.records import GoldCheck

VOTERS = 3
"""Labelers whose order becomes a check, or a case for a reviewer."""
CLEAR = 2.5
"""Mean difference in opinion, on the scale from 1 to 7, from which on a unanimous pair is clear enough for a check. Of
sandbox labelers who agree as often as the paper's, 95 % pass a check made of such pairs, 61 % one of any unanimous."""
ORDINARY = ("training", "agreement")


class Split(NamedTuple):
    """A comparison on which labelers differ."""

    comparison_id: str
    agreement: float
    labels: int


def consensus(items: Mapping[str, Sequence[Given]], now: datetime) -> list[GoldCheck]:
    """Return a check for each comparison of which at least `VOTERS` ordered some pair alike, strictly and clearly."""
    found = []
    for item, given in items.items():
        ordinary = [each for each in given if each.facts.purpose in ORDINARY]
        pairs = clear_pairs(ordinary) if len(ordinary) >= VOTERS else []
        if pairs:
            found.append(GoldCheck(comparison_id=item, created_at=now, pairs=pairs, source="consensus"))
    return found


def clear_pairs(given: Sequence[Given]) -> list[tuple[int, int]]:
    """Return the (better, worse) pairs that all order strictly and that lie far apart in their mean opinion."""
    if any(each.label.outcome != "ranked" for each in given):
        return []
    told = [detection.opinion(each.label.ranking, each.label.quality, len(each.facts.words)) for each in given]
    opinions = [each for each in told if each is not None]
    if len(opinions) < len(given):
        return []
    mean = [sum(each) / len(each) for each in zip(*opinions, strict=True)]
    places = [{index: place for place, group in enumerate(each.label.ranking) for index in group} for each in given]
    return [
        (better, worse)
        for better, worse in permutations(range(len(mean)), 2)
        if mean[better] - mean[worse] >= CLEAR
        and all(better in place and worse in place and place[better] < place[worse] for place in places)
    ]


def split(items: Mapping[str, Sequence[Given]], below: float) -> list[Split]:
    """Return the comparisons that at least `VOTERS` labelers order alike in less than this share of pairs.

    Only once all were heard: an item under review is given to nobody else, and those that labelers agree on would have
    more labels than the others.
    """
    found = []
    for item, given in items.items():
        ordinary = [each for each in given if each.facts.purpose in ORDINARY]
        if len(ordinary) >= max([VOTERS, *(each.facts.overlap for each in ordinary)]):
            alike = agreement.share([vote for each in ordinary for vote in votes(item, each)])
            if alike is not None and alike < below:
                found.append(Split(item, alike, len(ordinary)))
    return found
