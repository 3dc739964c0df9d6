"""Does the disagreement of several reward models keep PPO from over-optimising few labels?

Three policies start from the same fine-tuned one and are optimised without a KL penalty against (one) a single reward
model of 150 rankings, (mean) the mean of three that were trained on bootstrap samples of the same rankings, and
(penalised) that mean less a multiple of the members' deviation. The gold taste, which nothing trains on, judges every
batch; a score that falls from its peak while the reward goes on rising is over-optimised. Calibration and what the
spread foretells are measured on held-out comparisons. Every run leaves its curve behind, so that a benchmark that was
interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.bench_incremental import STUDENT_T
from benchmarks.common import ROOT, Bar, log, report
from benchmarks.ranked_rounds import World, write_rows

DIRECTORY = ROOT / "var" / "bench" / "ensemble"
PROMPTS_A_ROUND, HELD_OUT, SEEDS = 100, 1000, (1, 2, 3)
LABELLED = 150
"""Rankings of four completions each, of a thousand that there could be."""
MEMBERS, COEF = 3, 2.0
ARMS = ("one", "mean", "penalised")
ITERATIONS, SMOOTHED = 48, 9
"""Iterations of PPO, and over how many of them a score is averaged before its peak is looked for."""
RATE = {"kl_coef": 0.0, "lr": 6e-4, "minibatches": 4, "warmup_iterations": 2}
"""Twice the sandbox's rate, and no price of KL: tuned on seed 1 and a single reward model, so that its score turns."""
Figures = dict[str, Any]
Curve = Sequence[Mapping[str, float]]


def main() -> None:
    """Measure what is not measured yet, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_ensemble", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="prompts, labelers, order, samples")
    parser.add_argument("--bootstrap", choices=["none", "prompts", "labelers"], default="prompts")
    parser.add_argument("--coef", type=float, default=COEF, help="reward units per unit of deviation")
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS), help="fewer write no report")
    given = parser.parse_args()
    world = World(DIRECTORY, PROMPTS_A_ROUND, HELD_OUT)
    reward_models = {seed: judges(world, seed, given.bootstrap) for seed in given.seeds}
    curves: dict[str, list[Curve]] = {arm: [] for arm in given.arms}
    for seed, arm in tqdm([(seed, arm) for seed in given.seeds for arm in given.arms], desc="ensemble", unit="run"):
        curves[arm].append(optimised(world, seed, arm, given.bootstrap, given.coef))
        log(f"seed {seed}, {arm}: " + json.dumps(peak(curves[arm][-1])))
    if set(given.arms) == set(ARMS):
        figures = compare({arm: [peak(curve) for curve in each] for arm, each in curves.items()})
        figures |= {"reward_models": pooled(list(reward_models.values()))}
        given_too = {"bootstrap": given.bootstrap, "coef": given.coef, "members": MEMBERS, "iterations": ITERATIONS}
        report("ensemble", figures | given_too, bars(figures))


def judges(world: World, seed: int, bootstrap: str) -> Figures:
    """Train a single reward model and an ensemble on a seed's few comparisons; return their held-out figures."""
    place = world.directory / f"seed-{seed}"
    figures = place / f"judges-{bootstrap}.json"
    if figures.is_file():
        return dict(json.loads(figures.read_text()))
    place.mkdir(parents=True, exist_ok=True)
    everything = [row for rows in world.rounds(seed) for row in rows]
    few = write_rows(place / "comparisons.jsonl", random.Random(f"few:{seed}").sample(everything, LABELLED))
    held_out = write_rows(place / "held-out.jsonl", world.held_out(seed)["all"])
    given = {"policy": world.sft, "preferences": [few], "demonstrations": [world.demonstrations], "valid_fraction": 0.0}
    _stage("reward", place / "one", given | {"seed": seed})
    ensemble = {"seed": seed, "members": MEMBERS, "bootstrap": bootstrap}
    _stage("ensemble", place / f"ensemble-{bootstrap}", given | ensemble)
    one = _stage("score", place / "score-one", {"reward_model": place / "one", "preferences": [held_out]})
    several = {"reward_model": place / f"ensemble-{bootstrap}", "preferences": [held_out]}
    together = _stage("score", place / f"score-{bootstrap}", several)
    found = {
        "one": {name: one["all"][name] for name in ("accuracy", "calibration_error", "pairs")},
        "mean": {name: together["all"][name] for name in ("accuracy", "calibration_error")},
        "mixture_calibration_error": together["ensemble"]["mixture"]["calibration_error"],
        "members": together["ensemble"]["members"],
        "spread": together["ensemble"]["spread"],
    }
    figures.write_text(json.dumps(found, indent=1))
    return found


def optimised(world: World, seed: int, arm: str, bootstrap: str, coef: float) -> Curve:
    """Run PPO against one arm's judge, unless that is done; return KL, reward and gold score by iteration."""
    from sandbox.gold import judge
    from trainer.ppo.ppo import run_ppo
    from trainer.settings.ppo import PpoSettings
    from trainer.settings.presets import resolve

    place = world.directory / f"seed-{seed}"
    name = arm if arm == "one" else f"{arm}-{bootstrap}" if arm == "mean" else f"{arm}-{coef:g}-{bootstrap}"
    figures = place / f"curve-{name}.json"
    if figures.is_file():
        return list(json.loads(figures.read_text())["curve"])
    prompts = write_rows(place / "prompts.jsonl", world.prompts["train"])
    given = {
        "output": place / f"ppo-{name}", "policy": world.sft, "prompts": [prompts], "seed": seed,
        "reward": place / ("one" if arm == "one" else f"ensemble-{bootstrap}"),
        "uncertainty_coef": coef if arm == "penalised" else 0.0,
        "episodes": 64 * ITERATIONS, "checkpoint_every": 20,
        "guard_patience": 10**6,  # over-optimisation is what is to be seen
        **RATE,
    }  # fmt: skip

    def gold(messages: Sequence[list[dict[str, str]]], texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
        asked = [each[-1]["content"] for each in messages]
        return [judge(*each).score for each in zip(asked, texts, finished, strict=True)]

    began_s = time.process_time()
    run_ppo(resolve("ppo", PpoSettings, "sandbox", given), held_out_fn=gold)
    cpu_s = time.process_time() - began_s
    lines = (place / f"ppo-{name}" / "reward-curve.jsonl").read_text().splitlines()
    curve = [json.loads(line) for line in lines]
    figures.write_text(json.dumps({"cpu_s": round(cpu_s, 1), "curve": curve}))
    return curve


def peak(curve: Curve) -> Figures:
    """Return where a run's gold score was highest, and what became of it.

    Args:
        curve: ``kl_nats``, ``scores`` and ``held_out_scores`` (gold) of each iteration, in order.

    Returns:
        ``start``, ``gold`` at the peak and at the ``end``, averaged over ``SMOOTHED`` iterations; ``kl_nats`` at the
        peak, ``held_kl_nats`` where the last average within a tenth of it was, ``end_kl_nats``; ``fall``, what was lost
        after the peak as a share of the peak itself, and ``fall_of_gain``, as a share of what had been gained.
    """
    width = min(SMOOTHED, len(curve))

    def averages(name: str) -> list[float]:
        values = [each[name] for each in curve]
        return [statistics.fmean(values[at : at + width]) for at in range(len(values) - width + 1)]

    gold, kl_nats = averages("held_out_scores"), averages("kl_nats")
    best = max(range(len(gold)), key=gold.__getitem__)
    lost = gold[best] - gold[-1]
    gained = gold[best] - gold[0]
    return {
        "start": gold[0],
        "gold": gold[best],
        "kl_nats": kl_nats[best],
        "held_kl_nats": kl_nats[
            max(at for at, value in enumerate(gold) if value >= gold[best] - 0.1 * abs(gold[best]))
        ],
        "iteration": best + width // 2,
        "end": gold[-1],
        "end_kl_nats": kl_nats[-1],
        "fall": lost / abs(gold[best]) if gold[best] else math.inf,
        "fall_of_gain": lost / gained if gained > 0 else 0.0,
    }


def compare(arms: Mapping[str, Sequence[Figures]]) -> Figures:
    """Return each arm's means over seeds, and each ensemble's differences from the single model, seed by seed."""
    names = ("start", "gold", "kl_nats", "held_kl_nats", "end", "end_kl_nats", "fall", "fall_of_gain")
    found: Figures = {
        arm: {name: interval([each[name] for each in runs]) for name in names} for arm, runs in arms.items()
    }
    for arm in ARMS[1:]:
        pairs = list(zip(arms["one"], arms[arm], strict=True))
        found[f"{arm}_against_one"] = {
            "gold": interval([b["gold"] - a["gold"] for a, b in pairs]),
            "end": interval([b["end"] - a["end"] for a, b in pairs]),
            "kl_ratio": ratio([(b["kl_nats"], a["kl_nats"]) for a, b in pairs]),
            "held_kl_ratio": ratio([(b["held_kl_nats"], a["held_kl_nats"]) for a, b in pairs]),
        }
    return found


def ratio(pairs: Sequence[tuple[float, float]]) -> Figures:
    """Return the geometric mean of quotients with its interval: half and double cancel out. Least KL counted: 0.001."""
    found = interval([math.log(max(over, 1e-3) / max(under, 1e-3)) for over, under in pairs])
    seeds = [math.exp(value) for value in found["seeds"]]
    return {name: math.exp(found[name]) for name in ("mean", "low", "high")} | {"seeds": seeds}


def pooled(seeds: Sequence[Figures]) -> Figures:
    """Return the means over seeds of the held-out figures of reward models."""
    quarters = zip(*(each["spread"]["accuracy_by_quarter"] for each in seeds), strict=True)
    spread = ("mean", "separation", "separation_by_gap", "separation_by_ratio")
    return {
        "accuracy_one": interval([each["one"]["accuracy"] for each in seeds]),
        "accuracy_member": interval([statistics.fmean(m["accuracy"] for m in each["members"]) for each in seeds]),
        "accuracy_mean": interval([each["mean"]["accuracy"] for each in seeds]),
        "accuracy_gain": interval([each["mean"]["accuracy"] - each["one"]["accuracy"] for each in seeds]),
        "calibration_error_one": interval([each["one"]["calibration_error"] for each in seeds]),
        "calibration_error_mean": interval([each["mean"]["calibration_error"] for each in seeds]),
        "calibration_error_mixture": interval([each["mixture_calibration_error"] for each in seeds]),
        "accuracy_by_quarter_of_spread": [statistics.fmean(each) for each in quarters],
        **{f"spread_{name}": interval([each["spread"][name] for each in seeds]) for name in spread},
    }


def interval(values: Sequence[float]) -> Figures:
    """Return the mean with its 95 % interval (Student's t), and the values."""
    mean, half = statistics.fmean(values), math.nan
    if len(values) in STUDENT_T:
        half = STUDENT_T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": list(values)}


def bars(figures: Figures) -> list[Bar]:
    """Return what was promised beside what was measured: one of the first two would do."""
    return [
        Bar("penalised_kl_at_peak_ratio", figures["penalised_against_one"]["kl_ratio"]["mean"], ">=", 2.0),
        Bar("penalised_gold_fall", figures["penalised"]["fall"]["mean"], "<=", 0.1),
        Bar("calibration_error_mixture", figures["reward_models"]["calibration_error_mixture"]["mean"], "<=", 0.05),
        # Where a single model is not over-optimised, there is nothing to prevent.
        Bar("one_gold_fall", figures["one"]["fall"]["mean"], ">=", 0.1),
    ]


def _stage(stage: str, output: Path, given: Mapping[str, Any]) -> Figures:
    """Run a stage with the sandbox's preset, unless that is done, and return its metrics."""
    import importlib

    from feedback.errors import RunFinished
    from trainer.__main__ import STAGES
    from trainer.settings.presets import resolve

    module, settings, name, _ = STAGES[stage]
    kind = getattr(importlib.import_module(f"trainer.{settings}"), name)
    try:
        return dict(
            importlib.import_module(f"trainer.{module}").run(
                resolve(stage, kind, "sandbox", {"output": output, **given})
            )
        )
    except RunFinished as found:
        return found.metrics


if __name__ == "__main__":
    main()
