"""The report: from the latest labels to figures per group and per labeler, and to what an operator should look at.

Pure: labels and gold checks in, figures out. Nobody is paused here.
"""

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zlib import crc32

from feedback import gold, labels
from feedback.labelers import Period, in_quarantine
from feedback.quality import agreement, biases, detection, pausing
from feedback.quality.agreement import Rating, Vote
from feedback.quality.figures import Estimate, Group, Own, Person, Report
from feedback.quality.gathering import Given, Window, today
from feedback.records import GoldCheck

BELOW_POOL = 0.15
"""Points of agreement below everybody's from which on a labeler is flagged."""
ENOUGH_ITEMS = 20
"""Shared items below which agreement flags nobody."""
RECENT = 50
"""Latest labels that drift is looked for in."""
HOURS = 24
TURNED = {"a": "b", "b": "a", "tie": "tie"}
MANY = 1e6
"""Odds beyond which the number says no more."""


class Pool(NamedTuple):
    """What holds for everybody together."""

    agreement: Estimate
    longer_wins: Estimate


def build(
    window: Window, checks: Sequence[GoldCheck], now: datetime, quarantine: Mapping[str, list[Period]] | None = None
) -> Report:
    """Return the report on a window of labels; ``quarantine`` holds the periods of each labeler."""
    began = time.monotonic()
    items = window.of_items()
    all_votes = [vote for item, given in items.items() for each in given for vote in votes(item, each)]
    rest = agreement.against_rest(all_votes)
    shown = [each.shown for each in window.given]
    pool = Pool(agreement.pairwise(all_votes), biases.longer_wins(shown))
    verdicts = detection.judge(following(items))
    by_id = {check.comparison_id: check for check in checks}
    people = {
        name: _person(given, rest.get(name, {}), pool, verdicts.get(name), by_id, now)
        for name, given in sorted(window.of_people().items())
    }
    return Report(
        at=now,
        through=window.through,
        labels=len(window.given),
        groups=_groups(items),
        people=people,
        slots=biases.slot_wins(shown),
        first_wins=biases.first_wins(shown),
        longer_wins=pool.longer_wins,
        flags=biases.flag_use(
            {item: [each.label for each in given] for item, given in items.items()},
            {item: len(given[0].facts.words) for item, given in items.items()},
        ),
        quarantined=sum(
            in_quarantine((quarantine or {}).get(each.label.labeler, []), each.label.created_at)
            for each in window.given
        ),
        verdicts=dict(Counter(each.label.outcome for each in window.given)),
        per_hour=_per_hour(window.given, now),
        took_s=time.monotonic() - began,  # the last one, after all that takes time
    )


def votes(item: str, given: Given) -> Iterator[Vote]:
    """Yield what a label says of each pair; a verdict on all completions at once says nothing of pairs.

    Half of the pairs are turned round, by their hash: where completions stand in the order of better and worse models,
    ``a`` would nearly always win, and alpha would take that for chance.
    """
    if given.label.outcome == "ranked":
        for a, b, winner in labels.pairs(given.label.ranking):
            turned = crc32(f"{item} {a} {b}".encode()) & 1
            yield Vote(item, (a, b), given.label.labeler, TURNED[winner] if turned else winner)  # type: ignore[arg-type]


def following(items: Mapping[str, Sequence[Given]]) -> dict[str, list[float]]:
    """Return labeler -> how far each label follows the others of its item, oldest first (see `detection`)."""
    found: list[tuple[datetime, str, float]] = []
    for given in items.values():
        opinions = [detection.opinion(each.label.ranking, each.label.quality, len(each.facts.words)) for each in given]
        for each in given:
            others = [told for told, other in zip(opinions, given, strict=True) if other is not each and told]
            if others and each.label.outcome == "ranked":
                follows = detection.agreement(each.label.ranking, others)
                found.append((each.label.created_at, each.label.labeler, follows))
    by_name: dict[str, list[float]] = defaultdict(list)
    for _, name, follows in sorted(found):
        by_name[name].append(follows)
    return dict(by_name)


def gold_results(given: Sequence[Given], by_id: Mapping[str, GoldCheck]) -> list[tuple[datetime, bool]]:
    """Return when each hidden check was answered and whether it was passed, oldest first."""
    return [
        (each.label.created_at, not gold.violated(check, each.label.ranking, each.label.outcome))
        for each in given
        if each.facts.purpose == "gold" and (check := by_id.get(each.facts.subject)) is not None
    ]


def _person(
    given: Sequence[Given],
    rest: Mapping[str, tuple[float, float]],
    pool: Pool,
    verdict: detection.Verdict | None,
    by_id: Mapping[str, GoldCheck],
    now: datetime,
) -> Person:
    shown = [each.shown for each in given]
    results = gold_results(given, by_id)[-pausing.CHECKS :]
    recent_items = {each.facts.subject for each in given[-RECENT:]}
    all_sums = list(rest.values())
    before = agreement.ratio([sums for item, sums in rest.items() if item not in recent_items])
    recent = agreement.ratio([sums for item, sums in rest.items() if item in recent_items])
    found = agreement.ratio(all_sums)
    seconds = [each.label.active_s for each in given if each.label.active_s > 0]
    return Person(
        group=given[-1].label.labeler_group,
        labels=len(given),
        today=today(given, now),
        median_s=statistics.median(seconds) if seconds else None,
        s_per_word=biases.s_per_word(shown),
        agreement=found,
        gold=biases.wilson(sum(passed for _, passed in results), len(results)),
        self_agreement=_self_agreement(given),
        first_wins=biases.first_wins(shown),
        longer_wins=biases.longer_wins(shown),
        evidence=verdict.odds if verdict else 1.0,
        bar=verdict.bar if verdict else None,
        before=before,
        recent=recent,
        own=_own(given, rest, results, now),
        flags=[
            *_suspicions(found, pool.agreement, before, recent, verdict),
            *biases.habits(shown, pool.longer_wins),
        ],
    )


def _own(
    given: Sequence[Given],
    rest: Mapping[str, tuple[float, float]],
    results: Sequence[tuple[datetime, bool]],
    now: datetime,
) -> Own:
    """Return what a labeler is shown: the same figures, of the days before today (UTC)."""
    past = [each for each in given if each.label.created_at.date() < now.date()]
    items = {each.facts.subject for each in past}
    passed = [right for at, right in results if at.date() < now.date()]
    return Own(
        agreement=agreement.ratio([sums for item, sums in rest.items() if item in items]),
        gold=biases.wilson(sum(passed), len(passed)),
        self_agreement=_self_agreement(past),
    )


def _suspicions(
    found: Estimate, pool: Estimate, before: Estimate, recent: Estimate, verdict: detection.Verdict | None
) -> list[str]:
    flags = []
    if verdict is not None and verdict.after is not None:
        odds = "over a million" if verdict.odds > MANY else f"{verdict.odds:.3g}"
        flags.append(f"some labels run against everybody's: odds {odds} to 1, the bar is {verdict.bar:.3g}")
    if found.n >= ENOUGH_ITEMS and _below(found, pool, BELOW_POOL):
        flags.append(f"agrees with others on {found.value:.0%} of pairs, all do on {pool.value:.0%}")
    if min(before.n, recent.n) >= ENOUGH_ITEMS and recent.high < before.low:  # type: ignore[operator]
        flags.append(f"agreed on {before.value:.0%} of pairs before, on {recent.value:.0%} of late")
    return flags


def _below(found: Estimate, pool: Estimate, points: float) -> bool:
    """Tell whether a figure is so far below the pool's, and its whole interval below it."""
    if found.value is None or found.high is None or pool.value is None:
        return False
    return found.value <= pool.value - points and found.high < pool.value


def _self_agreement(given: Sequence[Given]) -> Estimate:
    """Return on which share of pairs a labeler said the same at both looks at one item."""
    first = {each.label.comparison_id: each for each in given}
    repeats = [each for each in given if each.facts.purpose == "repeat"]
    twice = [(again, first[again.facts.subject]) for again in repeats if again.facts.subject in first]
    told: list[Vote] = []
    for number, (again, before) in enumerate(twice):
        told += [vote._replace(labeler="first") for vote in votes(str(number), before)]
        told += [vote._replace(labeler="again") for vote in votes(str(number), again)]
    return agreement.pairwise(told)


def _groups(items: Mapping[str, Sequence[Given]]) -> dict[str, Group]:
    """Return the figures of each group among itself, and under ``all`` those of everybody."""
    names = sorted({each.label.labeler_group for given in items.values() for each in given})
    found = {name or "none": _group(items, name) for name in names}
    return {"all": _group(items, None), **found} if len(found) > 1 else found


def _group(items: Mapping[str, Sequence[Given]], name: str | None) -> Group:
    mine = {item: [each for each in given if name in (None, each.label.labeler_group)] for item, given in items.items()}
    told = [vote for item, given in mine.items() for each in given for vote in votes(item, each)]
    ratings = [
        Rating(item, index, each.label.labeler, score)
        for item, given in mine.items()
        for each in given
        for index, score in enumerate(each.label.quality)
    ]
    orders = {
        item: {each.label.labeler: _places(each) for each in given if each.label.outcome == "ranked"}
        for item, given in mine.items()
    }
    return Group(
        labelers=len({each.label.labeler for given in mine.values() for each in given}),
        labels=sum(len(given) for given in mine.values()),
        agreement=agreement.pairwise(told),
        agreement_with_ties=agreement.pairwise(told, ties=True),
        alpha=agreement.alpha(told),
        quality_alpha=agreement.rating_alpha(ratings, "ordinal"),
        tau=agreement.tau_b(orders),
    )


def _places(given: Given) -> dict[int, int]:
    return {index: place for place, group in enumerate(given.label.ranking) for index in group}


def _per_hour(given: Sequence[Given], now: datetime) -> list[int]:
    counts = [0] * HOURS
    for each in given:
        hours = int((now - each.label.created_at) / timedelta(hours=1))
        if 0 <= hours < HOURS:
            counts[HOURS - 1 - hours] += 1
    return counts
