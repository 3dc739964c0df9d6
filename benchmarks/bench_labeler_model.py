"""Does a labeler model find whom not to believe, and does believing others instead keep the reward model's accuracy?

(a) Twelve labelers of one taste, one of them with a planted bias. Found is: right sign, 95 % interval without 0. What
is "found" among the eleven others is false; a weak plant is counted apart. In some runs (``bias``) everything is the
run's own: people, completions, labels and a reward model that learns from them while they are fitted. In many more
(``fits``) people, completions and labels are; the rewards are those of one of two reward models, made by others' labels
of other prompts.
(b) Ten ordinary labelers, two of them contrary, against the same labels with nobody contrary, without and with the
labeler model; and one contrary labeler who judges a fifth of all, against the same labels with him honest.
(c) Two groups of opposite tastes: accuracy on each group's held-out rows, with and without a system message that names
the group; and a policy trained by the named reward model: how often a group prefers the answer that was meant for it to
the one that was meant for the other.

Every run leaves a file behind, so that a benchmark that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.bench_incremental import STUDENT_T
from benchmarks.common import Bar, report
from benchmarks.judged_policies import serve_both
from benchmarks.judged_runs import DIRECTORY, fitted, measure
from benchmarks.judged_worlds import PLANTED, STRONG, Judges
from benchmarks.ranked_rounds import World

PROMPTS_A_ROUND, TEST_PROMPTS = 100, 1000
BIAS_RUNS, FITS, WEAK_FITS, SEEDS, FIRST_SEEDS, TASTE_SEEDS = 12, 42, 12, 5, 3, 3
ARMS = (("honest", "none"), ("two", "none"), ("two", "reliability"), ("honest", "reliability"), ("even", "none"),
        ("one", "reliability"))  # fmt: skip
CONTRARY = (3, 8)
Figures = dict[str, Any]


def main() -> None:
    """Measure what is not measured yet, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_labeler_model", description=__doc__)
    parser.add_argument(
        "--only",
        choices=["bias", "fits", "adversaries", "tastes", "policies"],
        help="measure one part, write no report",
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="begin no run after so long; report what is there"
    )
    given = parser.parse_args()
    began_s = time.monotonic()
    torch.set_num_threads(1)
    world = World(DIRECTORY, PROMPTS_A_ROUND, TEST_PROMPTS)
    plan = [each for each in runs() if given.only in (None, each[0])]
    found: dict[str, dict[str, Figures]] = {}
    for part, name, judges, seed, options in tqdm(plan, desc="labeler model", unit="run"):
        file = DIRECTORY / "runs" / f"{name}.json"
        if not file.is_file():
            if time.monotonic() - began_s > given.seconds:
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(run(world, part, name, judges, seed, options), indent=1))
        found.setdefault(part, {})[name] = json.loads(file.read_text())
    if not given.only:
        summaries = {"fits": biases, "bias": biases, "adversaries": adversaries, "tastes": tastes, "policies": policies}
        figures: Figures = {part: summaries[part](runs) for part, runs in found.items()}
        figures |= {"measured": sum(map(len, found.values())), "planned": len(plan), "load_average": os.getloadavg()[0]}
        report("labeler-model", figures, bars(figures))


def run(world: World, part: str, name: str, judges: Judges, seed: int, options: Mapping[str, Any]) -> Figures:
    """Measure one run of the plan."""
    if part == "fits":
        return fitted(world, judges, seed)
    if part == "policies":
        return serve_both(world, DIRECTORY / "models" / name, seed)
    return measure(world, name, judges, seed, options)


def runs() -> Iterator[tuple[str, str, Judges, int, Figures]]:
    """Yield part, name, judges, seed and options of every run, those first that the bars need."""
    people = {
        "honest": Judges.ordinary(10),
        "two": Judges.ordinary(10, contrary=CONTRARY),
        "even": Judges.ordinary(10, busy=CONTRARY[0]),
        "one": Judges.ordinary(10, contrary=CONTRARY[:1], busy=CONTRARY[0]),
    }

    def against(
        seeds: Iterable[int], arms: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[str, str, Judges, int, Figures]]:
        for seed, (who, model) in itertools.product(seeds, arms):
            yield "adversaries", f"adversaries-{seed}-{who}-{model}", people[who], 200 + seed, {"labeler_model": model}

    yield from against(range(FIRST_SEEDS), ARMS[:3])
    for number in range(FITS + WEAK_FITS):
        kind = STRONG[number % len(STRONG)] if number < FITS else "courtesy-blind"
        yield "fits", f"fits-{number:02d}-{kind}", Judges.biased(kind, number), 400 + number, {}
    for seed, condition in itertools.product(range(TASTE_SEEDS), ("none", "group")):
        yield "tastes", f"tastes-{seed}-{condition}", Judges.two_tastes(), 300 + seed, {"condition": condition}
    for seed in range(TASTE_SEEDS):
        yield "policies", f"policies-{seed}", Judges.two_tastes(), 600 + seed, {}
    yield from against(range(FIRST_SEEDS, SEEDS), ARMS[:3])
    yield from against(range(SEEDS), ARMS[3:])
    for number in range(BIAS_RUNS):
        kind = STRONG[number % len(STRONG)]
        judges = Judges.biased(kind, number)
        yield "bias", f"bias-{number:02d}-{kind}", judges, 100 + number, {"labeler_model": "bias"}


def biases(runs: Mapping[str, Figures]) -> Figures:
    """Return in how many runs the planted bias was found, and how often one was found where there is none.

    Args:
        runs: name (``PART-NUMBER-KIND``) to figures, whose labelers are numbered.
    """
    hits: dict[str, list[bool]] = {kind: [] for kind in PLANTED}
    false = tests = accused = 0
    for name, figures in runs.items():
        _, number, kind = name.split("-", 2)
        feature, sign, _ = PLANTED[kind]
        for place, (_, each) in enumerate(sorted(figures["labelers"].items())):
            if place == int(number) % len(figures["labelers"]):
                interval = each["bias"][feature]
                hits[kind].append(min(sign * interval["low"], sign * interval["high"]) > 0)
            else:
                tests += len(each["bias"])
                false += len(each["biased_on"])
                accused += each["adversarial"]
    every = [hit for kind in STRONG for hit in hits[kind]]
    low, high = wilson(sum(every), len(every))
    by_kind = {kind: f"{sum(found)} of {len(found)}" for kind, found in hits.items() if found}
    return {
        "runs": len(every), "recovered": sum(every) / len(every), "low": low, "high": high, "by_kind": by_kind,
        "false_share_of_tests": false / tests, "false_of_tests": f"{false} of {tests}", "unbiased_accused": accused,
    }  # fmt: skip


def adversaries(runs: Mapping[str, Figures]) -> Figures:
    """Return what contrary labelers cost, in points of held-out accuracy, seed by seed, with and without the model.

    Args:
        runs: name (``adversaries-SEED-WHO-MODEL``) to figures.
    """
    points: dict[str, dict[str, float]] = {}
    for name, figures in runs.items():
        _, seed, who, model = name.split("-")
        points.setdefault(f"{who}-{model}", {})[seed] = 100 * figures["accuracy"]

    def cost(with_them: str, without: str = "honest-none") -> Figures:
        theirs, ours = points.get(with_them, {}), points.get(without, {})
        return spread([ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))])

    flagged = [
        sorted(name for name, each in figures["labelers"].items() if each["adversarial"])
        for name, figures in runs.items()
        if name.endswith("-two-reliability")
    ]
    return {
        "accuracy_honest": spread(list(points["honest-none"].values())),
        "two_of_ten_cost_with_model": cost("two-reliability"),
        "two_of_ten_cost_without": cost("two-none"),
        "one_with_a_fifth_cost_with_model": cost("one-reliability", "even-none"),
        "model_costs_where_all_are_honest": cost("honest-reliability"),
        "flagged_of_two": flagged,
    }


def tastes(runs: Mapping[str, Figures]) -> Figures:
    """Return accuracy on each group's held-out rows without conditioning, with it, and with it but without the name."""

    def mean(pick: Callable[[Figures], Mapping[str, float]], condition: str) -> Figures:
        each = [pick(figures) for name, figures in runs.items() if name.endswith(f"-{condition}")]
        return {group: statistics.fmean(one[group] for one in each) for group in each[0]}

    return {
        "unconditioned": mean(lambda run: run["by_group"], "none"),
        "conditioned": mean(lambda run: run["by_group"], "group"),
        "conditioned_but_unnamed": mean(lambda run: run["by_group_unnamed"], "group"),
    }


def policies(runs: Mapping[str, Figures]) -> Figures:
    """Return how often each group prefers its own answers, over the other group's and over those for nobody."""
    return {
        name: {group: spread([run[name][group] for run in runs.values()]) for group in groups}
        for name, groups in next(iter(runs.values())).items()
        if name.startswith("own_over")
    } | {"words": [run["words"] for run in runs.values()], "stopped": [run["stopped"] for run in runs.values()]}


def spread(values: Sequence[float]) -> Figures:
    """Return the mean of seeds with its 95 % interval (Student's t) and the seeds' own values."""
    mean = statistics.fmean(values) if values else math.nan
    half = math.nan
    if len(values) in STUDENT_T:
        half = STUDENT_T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": [round(value, 3) for value in values]}


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return centre - half, centre + half


def bars(figures: Figures) -> list[Bar]:
    """Return what was promised beside what was measured."""
    costs, gain, served = figures["adversaries"], math.nan, math.nan
    if "policies" in figures:
        served = min(group["mean"] for group in figures["policies"]["own_over_others"].values())
    if "tastes" in figures:
        before, after = (figures["tastes"][name] for name in ("unconditioned", "conditioned"))
        gain = min(after[group] - accuracy for group, accuracy in before.items())
    return [
        Bar("planted_bias_recovered", figures["fits"]["recovered"], ">=", 0.95),
        Bar("planted_bias_recovered_while_training", figures.get("bias", {}).get("recovered", math.nan), ">=", 0.95),
        Bar("false_share_of_tests", figures["fits"]["false_share_of_tests"], "<=", 0.05),
        Bar("adversaries_cost_points", costs["two_of_ten_cost_with_model"]["mean"], "<=", 2.0),
        Bar("one_adversary_cost_points", costs["one_with_a_fifth_cost_with_model"]["mean"], "<=", 2.0),
        Bar("conditioning_gain_points_of_the_worse_group", 100 * gain, ">", 0.0),
        Bar("policy_prefers_right_for_the_worse_group", served, ">", 0.5),
    ]


if __name__ == "__main__":
    main()
