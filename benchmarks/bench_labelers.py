"""How soon is a labeler flagged who works against the others, and how often an honest one?

Teams of ten sandbox labelers, who agree as often as the paper's (72.6 % of pairs), rank comparisons of four answers;
one of the ten misbehaves in a way of their own. Every label goes through the code that the audit runs
(`feedback.quality.detection`), with the model of an honest labeler fitted to the labels of the nine others. Per way of
misbehaving and per overlap: the share of culprits flagged within 50 labels, after how many, and the share of honest
labelers flagged.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scipy.stats import binomtest

from benchmarks.common import Bar, log, report
from feedback.quality import detection
from sandbox.gold import Gold, judge
from sandbox.labelers import Labeler, View, make_labelers, taste, view, write_demonstration
from sandbox.world import make_prompt

TEAMS = 200
TEAM = 10
LABELS = 50
K = 4
STOCK = 1500
"""Different comparisons that are drawn from."""
SETTING = 4
"""Overlap that the documentation asks for while a labeler is new; what the bars hold at."""
EARLIER = "earlier"
"""Whose the labels are that were there before the team began, and judge nobody."""
CHECK_EVERY = 10
"""At overlap 1 every so many labels is a check: 10 %."""


class Item(NamedTuple):
    """One comparison: what is to be known of each completion, and its words."""

    golds: list[Gold]
    words: list[int]


class Said(NamedTuple):
    """One label."""

    labeler: int
    view: View


Misdeed = Callable[[View, random.Random], View]
"""From what somebody thinks to what they say; completions stand on the page in the order of their indices."""


def reversing(share: float) -> Misdeed:
    """Return the misdeed of turning this share of the rankings upside down, scores included."""

    def say(thought: View, rng: random.Random) -> View:
        if rng.random() >= share:
            return thought
        top, low = max(thought.quality), min(thought.quality)
        return View(thought.ranking[::-1], [top + low - score for score in thought.quality], thought.flags)

    return say


def clicking_at_random(thought: View, rng: random.Random) -> View:
    """Rank in any order."""
    order = rng.sample(range(K), K)
    return View([[index] for index in order], [7 - 2 * order.index(index) for index in range(K)], {})


def clicking_first(thought: View, rng: random.Random) -> View:
    """Rank in the order of the page, which says nothing of the texts."""
    return View([[index] for index in range(K)], [7 - 2 * index for index in range(K)], {})


MISDEEDS: dict[str, Misdeed] = {
    "reverses_20_percent": reversing(0.2),
    "reverses_all": reversing(1.0),
    "clicks_at_random": clicking_at_random,
    "clicks_first": clicking_first,
    "reverses_5_percent": reversing(0.05),
}


@dataclass
class Team:
    """Ten people, the first of whom misbehaves, and what each comparison is worth to each."""

    people: list[Labeler]
    worths: list[list[list[float]]]
    items: list[Item]
    misdeed: Misdeed
    rng: random.Random

    def label(self, person: int, item: int) -> Said:
        """Return what somebody says of a comparison."""
        thought = view(self.worths[person][item], self.people[person].noise, self.items[item].golds, self.rng)
        return Said(person, self.misdeed(thought, self.rng) if person == 0 else thought)


class Outcome(NamedTuple):
    """What became of one team."""

    flagged_after: int | None
    """Labels of the culprit until the flag, if it came."""
    honest_flagged: int


def main() -> None:
    """Simulate and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_labelers", description=__doc__)
    parser.add_argument("--teams", type=int, default=TEAMS, help="teams per condition")
    given = parser.parse_args()
    stock = make_stock(STOCK)
    conditions = [("reverses_20_percent", overlap) for overlap in (1, 2, 3, SETTING)]
    conditions += [(name, SETTING) for name in list(MISDEEDS)[1:]]
    found: dict[str, Any] = {}
    for name, overlap in conditions:
        outcomes = [simulate(stock, MISDEEDS[name], overlap, seed) for seed in range(given.teams)]
        kind = f"overlap_{overlap}" if overlap > 1 else "overlap_1_and_checks"
        found.setdefault(name, {})[kind] = summary(outcomes)
        log(f"{name} {kind}: {found[name][kind]}")
    report("labelers", {"teams": given.teams, "labels": LABELS, "k": K, **found}, bars(found))


def bars(found: dict[str, Any]) -> list[Bar]:
    """Return what was promised beside what was measured, at the documented overlap."""
    hard = found["reverses_20_percent"][f"overlap_{SETTING}"]
    honest = [each[f"overlap_{SETTING}"]["honest_flagged"]["share"] for each in found.values()]
    return [
        Bar("reverses_20_percent_flagged_within_50", hard["flagged"]["share"], ">=", 0.95),
        Bar("reverses_20_percent_median_labels", hard["median_labels"], "<=", LABELS),
        Bar("honest_flagged_at_most", max(honest), "<=", 0.05),
    ]


def make_stock(count: int, seed: int = 5) -> list[Item]:
    """Return comparisons of four answers each, as an SFT policy would give them."""
    rng = random.Random(seed)
    writers = [each for each in make_labelers(0) if each.group == "training"]
    found = []
    for _ in range(count):
        prompt = make_prompt(rng).text
        texts = [write_demonstration(rng.choice(writers), prompt, rng) for _ in range(K)]
        found.append(Item([judge(prompt, text) for text in texts], [len(text.split()) for text in texts]))
    return found


def make_team(stock: Sequence[Item], misdeed: Misdeed, size: int, seed: int) -> Team:
    """Return ten people of their own and ``size`` comparisons of the stock."""
    rng = random.Random(f"team:{seed}")
    people = [each for each in make_labelers(seed) if each.group == "training"][:TEAM]
    items = rng.sample(list(stock), size)
    worths = [
        [[taste(person, *each) for each in zip(item.golds, item.words, strict=True)] for item in items]
        for person in people
    ]
    return Team(people, worths, items, misdeed, rng)


def simulate(stock: Sequence[Item], misdeed: Misdeed, overlap: int, seed: int) -> Outcome:
    """Let one team work until everybody gave `LABELS` labels, and judge them all as the audit would."""
    if overlap > 1:
        team = make_team(stock, misdeed, TEAM * LABELS // overlap, seed)
        answers = overlapping(team, overlap)
        every = 1
    else:
        team = make_team(stock, misdeed, 60, seed)
        answers = checked(team)
        every = CHECK_EVERY
    agreements: dict[str, list[float]] = defaultdict(list)
    for said, judges in answers:
        for each in said:
            opinions = [given for other in said if other is not each and (given := thinks(other)) is not None]
            name = str(each.labeler) if judges in (None, each.labeler) else EARLIER
            agreements[name].append(detection.agreement(each.view.ranking, opinions))
    verdicts = detection.judge(agreements, window=LABELS // every)
    after = [verdicts[str(person)].after for person in range(TEAM)]
    culprit = after[0]
    return Outcome(None if culprit is None else culprit * every, sum(each is not None for each in after[1:]))


def thinks(said: Said) -> list[float] | None:
    """Return what a label says each completion is worth."""
    return detection.opinion(said.view.ranking, said.view.quality, K)


def overlapping(team: Team, overlap: int) -> list[tuple[list[Said], int | None]]:
    """Return each comparison's labels by as many people; who has given fewest comes first."""
    given = [0] * TEAM
    found: list[tuple[list[Said], int | None]] = []
    for item in range(len(team.items)):
        people = sorted(range(TEAM), key=lambda person: (given[person], team.rng.random()))[:overlap]
        for person in people:
            given[person] += 1
        found.append(([team.label(person, item) for person in people], None))
    return found


def checked(team: Team) -> list[tuple[list[Said], int | None]]:
    """Return checks: comparisons that three others agreed on before, given to each person every tenth time.

    Who answers a check is judged by it; the earlier labels are in the pool and judge nobody.
    """
    found: list[tuple[list[Said], int | None]] = []
    for item in range(len(team.items)):
        before = [team.label(person, item) for person in team.rng.sample(range(1, TEAM), 3)]
        found.append((before, -1))
        free = [person for person in range(TEAM) if person not in {each.labeler for each in before}]
        asked = min(free, key=lambda person: (sum(whom == person for _, whom in found), team.rng.random()))
        found.append(([*before, team.label(asked, item)], asked))
    return found


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return shares with their intervals, and the median number of labels until a flag, unflagged ones as last."""
    after = [outcome.flagged_after for outcome in outcomes]
    return {
        "flagged": share(sum(each is not None for each in after), len(after)),
        "median_labels": statistics.median(each if each is not None else LABELS + 1 for each in after),
        "honest_flagged": share(sum(each.honest_flagged for each in outcomes), (TEAM - 1) * len(outcomes)),
        "teams_with_an_honest_one_flagged": share(sum(each.honest_flagged > 0 for each in outcomes), len(outcomes)),
    }


def share(hits: int, trials: int) -> dict[str, float]:
    """Return a share with its 95 % Wilson interval."""
    interval = binomtest(hits, trials).proportion_ci(method="wilson")
    return {"share": hits / trials, "low": float(interval.low), "high": float(interval.high), "n": trials}


if __name__ == "__main__":
    main()
