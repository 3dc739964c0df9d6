"""What labels follow that they should not: the place on the page, the length of the text, the clock.

Each function takes the labels of one person, or of all, with the words of what was shown; all are pure.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from scipy.stats import binomtest

from feedback import labels
from feedback.quality import agreement
from feedback.quality.figures import Estimate, FlagUse
from feedback.records import Label

READING_FLOOR_S = 0.06
"""Seconds per word below which nobody reads: 1,000 words a minute, four times the usual (Brysbaert 2019: 238)."""
UNLIKELY = 0.001
"""Chance below which a bias is called one; many people are looked at, again and again."""
ENOUGH = 20
"""Labels below which no habit is called one."""
LONGER = 0.15
"""Points by which the longer completion must win more often with one person than with all, whole interval."""
SAME_SHARE = 0.5
"""Share of rankings that are the same by place on the page from which on they are called identical."""


class Shown(NamedTuple):
    """One label with what stood before the labeler."""

    label: Label
    words: list[int]
    """Words of each completion."""

    @property
    def slots(self) -> dict[int, int]:
        """Completion index -> place on the page; empty if it was not stored."""
        return {index: slot for slot, index in enumerate(self.label.display_order)}


def decided(label: Label) -> Iterator[tuple[int, int]]:
    """Yield (winner, loser) of each pair that a label decides."""
    if label.outcome == "ranked":
        for a, b, winner in labels.pairs(label.ranking):
            if winner != "tie":
                yield (a, b) if winner == "a" else (b, a)


def wilson(hits: int, trials: int) -> Estimate:
    """Return a share with its 95 % interval (Wilson 1927), which keeps its promise for few trials too."""
    if not trials:
        return Estimate()
    interval = binomtest(hits, trials).proportion_ci(method="wilson")
    return Estimate(hits / trials, float(interval.low), float(interval.high), trials)


def first_wins(shown: Iterable[Shown]) -> Estimate:
    """Return the share of decided pairs that the completion further up won; 0.5 without position bias."""
    sums = []
    for each in shown:
        slots = each.slots
        pairs = [slots[winner] < slots[loser] for winner, loser in decided(each.label) if slots]
        sums.append((float(sum(pairs)), float(len(pairs))))
    return agreement.ratio(sums)


def slot_wins(shown: Iterable[Shown]) -> list[Estimate]:
    """Return, for each place on the page, the share of its decided pairs that it won."""
    sums: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for each in shown:
        slots = each.slots
        won, met = Counter[int](), Counter[int]()
        for winner, loser in decided(each.label) if slots else ():
            won[slots[winner]] += 1
            met.update((slots[winner], slots[loser]))
        for slot, count in met.items():
            sums[slot].append((float(won[slot]), float(count)))
    return [agreement.ratio(sums[slot]) for slot in sorted(sums)]


def longer_wins(shown: Iterable[Shown]) -> Estimate:
    """Return the share of decided pairs that the completion of more words won; pairs of equal length do not count."""
    sums = []
    for each in shown:
        words = each.words
        pairs = [words[winner] > words[loser] for winner, loser in decided(each.label) if words[winner] != words[loser]]
        sums.append((float(sum(pairs)), float(len(pairs))))
    return agreement.ratio(sums)


def position_bias(shown: Sequence[Shown]) -> float:
    """Return how likely it is by chance that the best completions stood first, or last, as often as they did.

    One trial per label with a single best completion: pairs of one ranking hang together, labels do not. Two-sided
    binomial test against the mean of 1/K.
    """
    chances = []
    hits = 0
    for each in shown:
        ranking = each.label.ranking
        if each.label.outcome == "ranked" and each.slots and len(ranking) > 1 and len(ranking[0]) == 1:
            chances.append(1 / len(each.slots))
            hits += each.slots[ranking[0][0]] == 0
    if not chances:
        return 1.0
    return float(binomtest(hits, len(chances), statistics.fmean(chances)).pvalue)


def s_per_word(shown: Iterable[Shown]) -> float | None:
    """Return the median of active seconds per word shown, or None if no page counted them."""
    counted = [(each.label.active_s, sum(each.words)) for each in shown]
    found = [seconds / words for seconds, words in counted if seconds > 0 and words > 0]
    return statistics.median(found) if found else None


def commonest(shown: Sequence[Shown]) -> float:
    """Return the share of the commonest ranking, seen as places on the page, among all that decide something."""
    found = Counter(
        tuple(tuple(sorted(each.slots[index] for index in group)) for group in each.label.ranking)
        for each in shown
        if each.slots and len(each.label.ranking) > 1
    )
    return found.most_common(1)[0][1] / found.total() if found else 0.0


def flag_use(by_item: Mapping[str, Sequence[Label]], completions: Mapping[str, int]) -> dict[str, FlagUse]:
    """Return flag -> how pairs of labelers of one completion used it, for every flag that anybody used.

    Args:
        by_item: labels of each item, one per labeler.
        completions: how many completions each item has.
    """
    names = sorted({flag for each in by_item.values() for label in each for flag in label.flags})
    counts: dict[str, Counter[int]] = {name: Counter() for name in names}
    for item, said in by_item.items():
        for one, other in combinations(said, 2):
            for name in names:
                mine, theirs = one.flags.get(name, []), other.flags.get(name, [])
                counts[name].update((index in mine) + (index in theirs) for index in range(completions[item]))
    return {name: FlagUse(both=found[2], one=found[1], none=found[0]) for name, found in counts.items()}


def habits(shown: Sequence[Shown], usual: Estimate) -> list[str]:
    """Return what is odd about how one person labels, in words for an operator.

    Args:
        shown: their labels.
        usual: how often the longer completion wins with everybody: it often is the better one.
    """
    if len(shown) < ENOUGH:
        return []
    found = []
    pace = s_per_word(shown)
    if pace is not None and pace < READING_FLOOR_S:
        found.append(f"faster than reading: {pace:.3f} s per word, the floor is {READING_FLOOR_S} s")
    if position_bias(shown) < UNLIKELY:
        won = first_wins(shown).value or 0.0
        found.append(f"follows the place on the page: what stands further up wins {won:.0%} of pairs")
    longer = longer_wins(shown)
    if longer.low is not None and usual.value is not None and longer.low > usual.value + LONGER:
        found.append(f"prefers the longer: it wins {longer.value:.0%} of pairs, {usual.value:.0%} with everybody")
    if (share := commonest(shown)) > SAME_SHARE:
        found.append(f"{share:.0%} of the rankings are the same by place on the page")
    return found
