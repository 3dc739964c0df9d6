"""Does an incremental reward model keep up with full retraining over ten rounds, and at what share of its compute?

Both sides start from the same fine-tuned policy and the same first round. From then on one side is trained anew on all
comparisons so far each round; the other goes on with its reward model: fresh comparisons once, and some old ones.
Compute is what goes through the model forward and backward in ten rounds, in tokens and in CPU-seconds; scoring of
held-out rows costs both sides the same and is left out. It is measured with the first seed: full retraining of another
seed is done in the last round only, because the rounds before it have no influence on what it ends with. Every run
leaves its directory behind, so that a benchmark that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.common import ROOT, Bar, log, report
from benchmarks.ranked_rounds import ROUNDS, Row, World, gold_pairs, write_rows

DIRECTORY = ROOT / "var" / "bench" / "incremental"
PROMPTS_A_ROUND, HELD_OUT, SEEDS = 100, 1000, (1, 2, 3, 4, 5, 6, 7, 8)
SIDES = ("full", "incremental")
STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Two-sided 95 % quantile of Student's t by number of seeds."""
Figures = dict[str, Any]


def main() -> None:
    """Measure what is not measured yet, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_incremental", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="prompts, labelers and order")
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="options of the incremental side")
    parser.add_argument("--only", choices=SIDES, help="measure one side and write no report")
    given = parser.parse_args()
    world = World(DIRECTORY, PROMPTS_A_ROUND, HELD_OUT)
    options = dict(word.split("=", 1) for word in given.set)
    sides = [given.only] if given.only else list(SIDES)
    runs = [
        (seed, side, number)
        for seed in given.seeds
        for side in sides
        for number in range(ROUNDS)
        if side == "incremental" or seed == given.seeds[0] or number == ROUNDS - 1
    ]
    measured: dict[int, dict[str, list[Figures]]] = {seed: {side: [] for side in sides} for seed in given.seeds}
    for seed, side, number in tqdm(runs, desc="incremental", unit="run"):
        measured[seed][side].append(measure(world, seed, side, number, options if side == "incremental" else {}))
        if number == ROUNDS - 1:
            log(f"seed {seed}, {side}: " + json.dumps(measured[seed][side][-1]["held_out"]))
    if not given.only:
        figures = summary([compare(measured[seed]) for seed in given.seeds])
        report("incremental", figures | {"prompts_a_round": PROMPTS_A_ROUND, "options": options}, bars(figures))


def measure(world: World, seed: int, side: str, number: int, options: Mapping[str, str]) -> Figures:
    """Train one round's reward model of one side, unless it is there; return its cost and its agreement."""
    name = "-".join([side, *(f"{key}={value}" for key, value in sorted(options.items()))])
    place = world.directory / f"seed-{seed}"
    output, figures = place / name / f"round-{number}", place / name / f"round-{number}.json"
    if figures.is_file():
        return dict(json.loads(figures.read_text()))
    rows = world.rounds(seed)
    (place / name).mkdir(parents=True, exist_ok=True)
    file = write_rows(place / name / "comparisons.jsonl", [row for each in rows[: number + 1] for row in each])
    source: dict[str, object] = {"policy": world.sft}
    if side == "incremental" and number:
        source = {"init_reward": place / name / f"round-{number - 1}", "incremental": True, **options}
    found = _train(output, preferences=[file], demonstrations=[world.demonstrations], seed=seed, **source)
    kept = {key: found[key] for key in ("train_tokens", "train_cpu_s", "steps", "fresh_groups", "replayed_groups")}
    if number in (0, ROUNDS - 1):
        kept["held_out"] = {part: _agreement(output, each) for part, each in world.held_out(seed).items()}
    figures.write_text(json.dumps(kept, indent=1))
    return kept


def compare(sides: Mapping[str, Sequence[Figures]]) -> Figures:
    """Return one seed's figures: costs of ten rounds if both sides ran them all, and agreement after the last.

    Args:
        sides: each side's runs in order, the last round at the end; points are percent points.
    """
    full, own = sides["full"], sides["incremental"]

    def points(run: Figures, part: str, key: str = "accuracy") -> float:
        return 100 * float(run["held_out"][part][key])

    return (costs(full, own) if len(full) == len(own) else {}) | {
        "accuracy_full": points(full[-1], "all"),
        "accuracy_incremental": points(own[-1], "all"),
        "behind_full_points": points(full[-1], "all") - points(own[-1], "all"),
        "gold_accuracy_full": points(full[-1], "all", "gold_accuracy"),
        "gold_accuracy_incremental": points(own[-1], "all", "gold_accuracy"),
        "forgotten_of_the_first_round_points": points(own[0], "first") - points(own[-1], "first"),
        "behind_full_on_the_first_round_points": points(full[-1], "first") - points(own[-1], "first"),
        "above_length_points": points(full[-1], "all") - 100 * full[-1]["held_out"]["all"]["by_length"],
    }


def costs(full: Sequence[Figures], own: Sequence[Figures]) -> Figures:
    """Return what ten rounds cost on both sides, forward and backward, and the shares."""

    def cost(runs: Sequence[Figures], key: str) -> float:
        return float(sum(run[key] for run in runs))

    return {
        "tokens_share": cost(own, "train_tokens") / cost(full, "train_tokens"),
        "cpu_share": cost(own, "train_cpu_s") / cost(full, "train_cpu_s"),
        "tokens_share_of_the_last_round": own[-1]["train_tokens"] / full[-1]["train_tokens"],
        "cpu_s_full": cost(full, "train_cpu_s"),
        "cpu_s_incremental": cost(own, "train_cpu_s"),
    }


def summary(seeds: Sequence[Figures]) -> Figures:
    """Return each figure's mean over seeds with its 95 % interval (Student's t), and the seeds' own values."""
    found: Figures = {}
    for name in seeds[0]:
        values = [float(each[name]) for each in seeds if name in each]
        mean = statistics.fmean(values)
        found[name] = {"mean": mean, "low": None, "high": None, "seeds": values}
        if len(values) in STUDENT_T:
            half = STUDENT_T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
            found[name] |= {"low": mean - half, "high": mean + half}
    return found


def bars(figures: Figures) -> list[Bar]:
    """Return what was promised beside what was measured."""
    return [
        Bar("behind_full_points", figures["behind_full_points"]["mean"], "<=", 1.0),
        Bar("tokens_share", figures["tokens_share"]["mean"], "<=", 0.25),
        Bar("cpu_share", figures["cpu_share"]["mean"], "<=", 0.25),
        Bar("forgotten_of_the_first_round_points", figures["forgotten_of_the_first_round_points"]["mean"], "<=", 1.0),
        # A model that length could replace would show nothing.
        Bar("full_above_length_points", figures["above_length_points"]["mean"], ">=", 5.0),
    ]


def _train(output: Path, **options: object) -> Figures:
    from trainer.settings.presets import resolve
    from trainer.settings.stages import RewardSettings
    from trainer.stages import reward

    given = {"output": output, "valid_fraction": 0.0, **options}
    return reward.run(resolve("reward", RewardSettings, "sandbox", given))


def _agreement(directory: Path, rows: Sequence[Row]) -> Figures:
    """Return how often a reward model orders two completions as labelers did, and as the gold taste does."""
    from trainer.data.reading import Limits, read_preferences
    from trainer.maths.pair_report import report as pair_report
    from trainer.models.policies import load_tokenizer
    from trainer.models.scalar import ScalarModel
    from trainer.stages.score import judge

    tokenizer = load_tokenizer(directory)
    file = write_rows(directory.with_suffix(".held-out.jsonl"), rows)
    groups = read_preferences([file], tokenizer, Limits(prompt_tokens=192, completion_tokens=32))
    file.unlink()
    judged = judge(ScalarModel.load(directory), groups, int(tokenizer.pad_token_id), 16384)
    found = pair_report(judged)
    right = [
        float(each.rewards[better] > each.rewards[worse]) + 0.5 * (each.rewards[better] == each.rewards[worse])
        for each, row in zip(judged, rows, strict=True)
        for better, worse in gold_pairs(row)
    ]
    return {
        "accuracy": found["accuracy"],
        "pairs": found["pairs"],
        "by_length": max(found["always_longer"], 1 - found["always_longer"]),
        "gold_accuracy": statistics.fmean(right),
    }


if __name__ == "__main__":
    main()
