"""From results of every arm and seed to the figures behind the page: ``docs/paper.json``, means and intervals.

A seed is one whole replication (data, labels, training, prompts), so the interval of any figure is Student's t over
seeds, and differences are taken seed by seed first. What prompts alone would say of a win rate, a bootstrap of prompts
within their seeds, is kept beside it. Knows result files and statistics; does not know what the paper claims.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import numpy as np
from scipy.stats import t as student

from benchmarks.paper.plan import Sizes

Row = dict[str, float]
BySeed = dict[str, float]
"""A figure of each seed; the seed's number is a string, as in JSON."""
OPPONENTS: Final = ("sft", "base", "base-few-shot", "tasks", "ppo-ptx")
KEPT_SERIES: Final = ("points", "epochs")
CONFIDENCE: Final = 0.95
RESAMPLES: Final = 4000
DIGITS: Final = 5


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval, both bounds NaN where there is one seed; in the figure's unit."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Student's t over seeds.

        Raises:
            ValueError: no value.
        """
        if not values:
            raise ValueError("an estimate of no value")
        mean = fmean(values)
        if len(values) < 2:
            return cls(mean, math.nan, math.nan, tuple(values))
        half = float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
        return cls(mean, mean - half, mean + half, tuple(values))


@dataclass(frozen=True)
class Results:
    """Figures of all arms and seeds.

    Attributes:
        seeds: as strings, in order.
        figures: by arm, name and seed.
        wins: by arm, opponent and seed: share of prompts won, ties half.
        prompt_intervals: by arm and opponent: the 95 % interval of the mean win rate over prompts alone.
        series: by arm, name and seed: rows of numbers.
        run: how it was made: ``commit``, ``cpu_s`` and ``wall_s`` by arm (sums over seeds), ``sizes`` of data and runs,
            and ``whole``, what all arms took in one go, where they were run so.
    """

    seeds: tuple[str, ...]
    figures: Mapping[str, Mapping[str, BySeed]]
    wins: Mapping[str, Mapping[str, BySeed]]
    prompt_intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    series: Mapping[str, Mapping[str, Mapping[str, list[Row]]]]
    run: Mapping[str, Any] = field(default_factory=dict)

    def has(self, *arms: str) -> bool:
        """Whether every one of these arms has a result."""
        return all(arm in self.figures for arm in arms)

    def figure(self, arm: str, name: str) -> BySeed:
        """A figure of each seed that has it; empty where none has."""
        return dict(self.figures.get(arm, {}).get(name, {}))

    def mean(self, arm: str, name: str) -> Estimate | None:
        """The figure over seeds, None where no seed has it."""
        return estimate(self.figure(arm, name))

    def win_rate(self, arm: str, opponent: str) -> Estimate | None:
        """Share of prompts that ``arm`` wins, None where either has no result."""
        return estimate(self.wins.get(arm, {}).get(opponent, {}))

    def rows(self, arm: str, name: str) -> dict[str, list[Row]]:
        """A series of each seed that has it."""
        return {seed: list(rows) for seed, rows in self.series.get(arm, {}).get(name, {}).items()}


def estimate(figure: BySeed) -> Estimate | None:
    """The estimate of a figure, None where no seed has it."""
    return Estimate.of(list(figure.values())) if figure else None


def minus(one: BySeed, other: BySeed) -> BySeed:
    """Differences of the seeds that have both."""
    return {seed: one[seed] - other[seed] for seed in one if seed in other}


def ratio(one: BySeed, other: BySeed) -> BySeed:
    """Quotients of the seeds that have both and whose denominator is not 0."""
    return {seed: one[seed] / other[seed] for seed in one if other.get(seed)}


def collect(root: Path, seeds: Sequence[int]) -> Results:
    """Read ``seed-S/ARM/result.json`` below ``root`` for these seeds; arms that are not there are left out.

    Raises:
        FileNotFoundError: there is not one result.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for seed in seeds:
        for path in sorted(root.glob(f"seed-{seed}/*/result.json")):
            found.setdefault(path.parent.name, {})[str(seed)] = json.loads(path.read_text())
    if not found:
        raise FileNotFoundError(f"{root}: no seed-S/ARM/result.json of seeds {list(seeds)}; run `make paper` first")
    wins, intervals = _all_wins(found)
    return Results(
        seeds=tuple(sorted({seed for arm in found.values() for seed in arm}, key=int)),
        figures={arm: _by_name({s: each["figures"] for s, each in by.items()}) for arm, by in found.items()},
        wins=wins,
        prompt_intervals=intervals,
        series={arm: kept for arm, by in found.items() if (kept := _series(by))},
        run=_run(root, [each for by in found.values() for each in by.values()]),
    )


def write(results: Results, path: Path) -> None:
    """Store the figures as JSON, numbers with five significant digits, keys in order."""
    path.write_text(json.dumps(_rounded(asdict(results)), indent=1, sort_keys=True) + "\n")


def read(path: Path) -> Results:
    """Figures as ``write`` stored them."""
    stored = json.loads(path.read_text())
    intervals = {
        arm: {other: (low, high) for other, (low, high) in by.items()} for arm, by in stored["prompt_intervals"].items()
    }
    return Results(**(stored | {"seeds": tuple(stored["seeds"]), "prompt_intervals": intervals}))


def outcomes(scores: Sequence[float], others: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """1 where a prompt is won, 0.5 where both score alike, 0 where it is lost; float64 [prompts]."""
    one, other = np.asarray(scores, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"two policies answered different numbers of prompts: {len(one)} and {len(other)}")
    return 0.5 + 0.5 * np.sign(one - other)


def prompt_interval(by_seed: Sequence[np.ndarray[Any, np.dtype[np.float64]]]) -> tuple[float, float]:
    """95 % interval of the mean over seeds of each seed's mean, prompts resampled within their seed."""
    random = np.random.default_rng(0)
    means = [each[random.integers(len(each), size=(RESAMPLES, len(each)))].mean(1) for each in by_seed]
    low, high = np.quantile(np.mean(means, axis=0), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def value_at_gain(points: Sequence[Row], gained: str, gain: float, column: str) -> float | None:
    """``column`` where ``gained`` is first ``gain`` above its start, linear between points; None if it never is."""
    target = points[0][gained] + gain
    for before, after in pairwise(points):
        if before[gained] >= target:
            return before[column]
        if after[gained] >= target or math.isclose(after[gained], target):
            share = min(1.0, (target - before[gained]) / (after[gained] - before[gained]))
            return before[column] + share * (after[column] - before[column])
    return points[0][column] if gain <= 0 else None


def most_gain(points: Sequence[Row], gained: str) -> float:
    """The largest rise of ``gained`` above its first point."""
    return max(point[gained] for point in points) - points[0][gained]


def _all_wins(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], dict[str, Any]]:
    wins: dict[str, dict[str, BySeed]] = {}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    for arm, by in found.items():
        for opponent in OPPONENTS:
            each = {
                seed: outcomes(result["prompts"]["gold"], found[opponent][seed]["prompts"]["gold"])
                for seed, result in by.items()
                if opponent != arm and "gold" in result.get("prompts", {}) and seed in found.get(opponent, {})
            }
            if each:
                wins.setdefault(arm, {})[opponent] = {seed: float(won.mean()) for seed, won in each.items()}
                intervals.setdefault(arm, {})[opponent] = prompt_interval(list(each.values()))
    return wins, intervals


def _run(root: Path, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    spent: dict[str, dict[str, float]] = {"cpu_s": {}, "wall_s": {}}
    for result in found:
        for name, by_arm in spent.items():
            by_arm[result["arm"]] = round(by_arm.get(result["arm"], 0.0) + result[name], 1)
    told: dict[str, Any] = {"commit": sorted({result["commit"] for result in found}), "sizes": asdict(Sizes()), **spent}
    whole = root / "run.json"
    return told | ({"whole": json.loads(whole.read_text())} if whole.is_file() else {})


def _by_name(figures: Mapping[str, Mapping[str, float]]) -> dict[str, BySeed]:
    names = sorted({name for each in figures.values() for name in each})
    return {name: {seed: each[name] for seed, each in figures.items() if name in each} for name in names}


def _series(by: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[Row]]]:
    names = [name for name in KEPT_SERIES if any(name in each.get("series", {}) for each in by.values())]
    return {name: {seed: e["series"][name] for seed, e in by.items() if name in e.get("series", {})} for name in names}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
