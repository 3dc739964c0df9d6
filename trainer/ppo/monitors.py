"""What a policy does to earn its reward: figures of each iteration's completions, beside those of the run's beginning.

Knows token ids, scores and a held-out judge's scores; knows no reward hack by name, and not what is done about one
(`trainer.ppo.rules`). The first iterations, in which the policy hardly moves, say what is usual; from then on each
*trait* of a completion (long, repeating itself, holding the token or the phrase that became more frequent) has

- ``rise_z``: how far its mean is above the beginning's, in standard errors of the two;
- ``pays``: mean score of the completions with it minus that of the others, in deviations of the beginning's scores;
- ``excess`` and ``excess_z``: the same for what the reward gives beyond the held-out judge, each in deviations of its
  own beginning, and in standard errors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from trainer.maths.win_rates import distinct, rank_correlation, repetition

PHRASE_TOKENS = 3
"""Length of a phrase."""
_LEAST_SHARE = 0.01
"""Share of a batch's completions from which on a token or phrase of the beginning is remembered: bounds the state."""
_LEAST_RISE = 0.02
"""Rise of that share from which on a token or phrase is looked at."""
_LEAST_COUNT = 3
"""Completions that must hold a token before it is looked at, and that must lack it."""
_LEAST_VARIANCE = 1e-6
"""Of a mean: what never varied may still vary this much."""
Grams = dict[tuple[int, ...], set[int]]
"""Rows of the completions that hold each n-gram."""


@dataclass
class Moments:
    """Count, sum and sum of squares of numbers that are not kept."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: Iterable[float]) -> None:
        """Take numbers in."""
        for value in values:
            self.count, self.total, self.squares = self.count + 1, self.total + value, self.squares + value * value

    @property
    def mean(self) -> float:
        """Their mean; 0 without any."""
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """Their standard deviation (biased); 1 where they do not vary, so that it can be a unit."""
        variance = self.squares / self.count - self.mean**2 if self.count else 0.0
        return math.sqrt(variance) if variance > 1e-12 else 1.0

    def rise_z(self, values: Sequence[float]) -> float:
        """How far the mean of these numbers is above the mean of those, in Welch's standard errors."""
        variance = max(self.squares / self.count - self.mean**2, 0.0) / self.count + _variance(values) / len(values)
        return (fmean(values) - self.mean) / math.sqrt(max(variance, _LEAST_VARIANCE))


@dataclass
class Beginning:
    """What was usual before the policy had moved.

    Attributes:
        iterations: how many of them were taken in.
        moments: of each figure of an episode, by name.
        shares: sums over the iterations of the share of completions with a token or phrase, by ids joined by commas.
    """

    iterations: int = 0
    moments: dict[str, Moments] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)

    def take_in(self, columns: Mapping[str, Sequence[float]], grams: Iterable[Grams], episodes: int) -> None:
        """Add an iteration."""
        self.iterations += 1
        for name, values in columns.items():
            self.moments.setdefault(name, Moments()).add(values)
        for gram, rows in ((gram, rows) for each in grams for gram, rows in each.items()):
            if len(rows) >= _LEAST_SHARE * episodes:
                name = _name(gram)
                self.shares[name] = self.shares.get(name, 0.0) + len(rows) / episodes

    def share(self, gram: Sequence[int]) -> float:
        """Mean share of the completions that held an n-gram."""
        return self.shares.get(_name(gram), 0.0) / self.iterations


class Monitors:
    """Watches the completions of one run.

    Args:
        start_iterations: how many of the first iterations say what is usual.
    """

    def __init__(self, start_iterations: int = 5) -> None:
        self._start_iterations = start_iterations
        self._start = Beginning()

    def look(
        self, completions: Sequence[Sequence[int]], scores: Sequence[float], held_out: Sequence[float] = ()
    ) -> dict[str, float]:
        """Measure one iteration.

        Args:
            completions: token ids, one list an episode.
            scores: what each is paid, in reward units.
            held_out: the held-out judge's scores, in its own units; none without one.

        Returns:
            Metrics ``hacks/...``. Always: ``repeated`` (share of a completion's bigrams that it held before),
            ``distinct`` (share of different bigrams in the batch), ``common_share`` (of the most common completion),
            ``common_start_share`` (of the most common first tokens), ``repeated_spearman`` with the score. After the
            beginning, for the traits ``length``, ``repeated``, ``token`` and ``phrase``: ``TRAIT_from`` and
            ``TRAIT_now`` (means), ``TRAIT_rise_z``, ``TRAIT_pays``, ``TRAIT_pays_z``, and with a judge
            ``TRAIT_excess``, ``TRAIT_excess_z``; ``token_1`` and ``phrase_1`` to ``phrase_3``, the ids;
            ``common_from``, what ``common_share`` was; ``score_gain`` and ``held_out_gain``, means above the
            beginning's in deviations.
        """
        columns = {
            "length": [float(len(tokens)) for tokens in completions],
            "repeated": [repetition(tokens, 2) for tokens in completions],
            "scores": list(scores),
        } | ({"held_out": list(held_out)} if held_out else {})
        grams = [rows_of_grams(completions, n) for n in (1, PHRASE_TOKENS)]
        common, starts = (Counter(tuple(tokens[:k]) for tokens in completions) for k in (None, PHRASE_TOKENS + 1))
        metrics = {
            "hacks/repeated": fmean(columns["repeated"]),
            "hacks/repeated_spearman": rank_correlation(columns["repeated"], columns["scores"]),
            "hacks/distinct": distinct(completions),
            "hacks/common_share": common.most_common(1)[0][1] / len(completions),
            "hacks/common_start_share": starts.most_common(1)[0][1] / len(completions),
        }
        if self._start.iterations < self._start_iterations:
            shares = {"common": [metrics["hacks/common_share"]]}
            self._start.take_in(columns | shares, grams, len(completions))
            return metrics
        return metrics | self._against_the_beginning(columns, grams)

    def state_dict(self) -> dict[str, object]:
        """What a resumed run needs to go on watching."""
        moments = {name: [each.count, each.total, each.squares] for name, each in self._start.moments.items()}
        return {"iterations": self._start.iterations, "moments": moments, "shares": dict(self._start.shares)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a saved state."""
        moments, shares = state["moments"], state["shares"]
        assert isinstance(moments, Mapping)
        assert isinstance(shares, Mapping)
        self._start = Beginning(
            iterations=int(str(state["iterations"])),
            moments={name: Moments(*each) for name, each in moments.items()},
            shares=dict(shares),
        )

    def _against_the_beginning(
        self, columns: Mapping[str, Sequence[float]], grams: Sequence[Grams]
    ) -> dict[str, float]:
        pay = {name: self._in_deviations(name, columns[name]) for name in ("scores", "held_out") if name in columns}
        beyond = [a - b for a, b in zip(pay["scores"], pay["held_out"], strict=True)] if len(pay) == 2 else None
        metrics = {f"hacks/{name.removesuffix('s')}_gain": fmean(values) for name, values in pay.items()}
        metrics["hacks/common_from"] = self._start.moments["common"].mean
        for trait in ("length", "repeated"):
            values, start = columns[trait], self._start.moments[trait]
            middle = median(values)
            marked = {row for row, value in enumerate(values) if value > middle}
            metrics |= _trait(trait, start.mean, fmean(values), start.rise_z(values), marked, pay["scores"], beyond)
        for trait, each in zip(("token", "phrase"), grams, strict=True):
            metrics |= self._risen(trait, each, pay["scores"], beyond)
        return metrics

    def _risen(
        self, trait: str, grams: Grams, pay: Sequence[float], beyond: Sequence[float] | None
    ) -> dict[str, float]:
        """The trait of holding that n-gram whose rise costs most: share gained times what is wrongly paid for it."""
        episodes, found, most = len(pay), {}, -math.inf
        for gram, rows in grams.items():
            share, before = len(rows) / episodes, self._start.share(gram)
            if len(rows) < _LEAST_COUNT or share - before < _LEAST_RISE:
                continue
            both = (share + before * self._start.iterations) / (1 + self._start.iterations)
            error = math.sqrt(max(both * (1 - both), _LEAST_VARIANCE) * (1 + 1 / self._start.iterations) / episodes)
            figures = _trait(trait, before, share, (share - before) / error, rows, pay, beyond)
            cost = (share - before) * max(figures.get(f"hacks/{trait}_excess", figures[f"hacks/{trait}_pays"]), 1e-3)
            if cost > most:
                ids = {f"hacks/{trait}_{place}": float(id) for place, id in enumerate(gram, 1)}
                found, most = figures | ids, cost
        return found

    def _in_deviations(self, name: str, values: Sequence[float]) -> list[float]:
        start = self._start.moments.get(name, Moments())
        return [(value - start.mean) / start.deviation for value in values]


def rows_of_grams(completions: Sequence[Sequence[int]], n: int) -> Grams:
    """Return which completions hold each n-gram."""
    rows: Grams = {}
    for row, tokens in enumerate(completions):
        for gram in zip(*(tokens[k:] for k in range(n)), strict=False):
            rows.setdefault(gram, set()).add(row)
    return rows


def difference(values: Sequence[float], marked: set[int]) -> tuple[float, float]:
    """Return how much higher the mean of the marked rows is than that of the others, and that in standard errors.

    The errors are Welch's, with the variance of all rows as a floor's tenth so that a few equal rows are no certainty;
    0 and 0 where fewer than three rows are on one side.
    """
    sides = [[v for row, v in enumerate(values) if (row in marked) is side] for side in (True, False)]
    if min(map(len, sides)) < _LEAST_COUNT:
        return 0.0, 0.0
    everything = Moments()
    everything.add(values)
    floor = 0.1 * everything.deviation**2
    error = math.sqrt(sum(max(_variance(side), floor) / len(side) for side in sides))
    gap = fmean(sides[0]) - fmean(sides[1])
    return gap, gap / error


def _trait(
    trait: str,
    before: float,
    now: float,
    rise_z: float,
    marked: set[int],
    pay: Sequence[float],
    beyond: Sequence[float] | None,
) -> dict[str, float]:
    pays, pays_z = difference(pay, marked)
    figures = {"from": before, "now": now, "rise_z": rise_z, "pays": pays, "pays_z": pays_z}
    if beyond is not None:
        figures["excess"], figures["excess_z"] = difference(beyond, marked)
    return {f"hacks/{trait}_{name}": value for name, value in figures.items()}


def _variance(values: Sequence[float]) -> float:
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)


def _name(gram: Sequence[int]) -> str:
    return ",".join(map(str, gram))
