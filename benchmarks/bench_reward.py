"""Does our reward stage learn as much as TRL 1.16's reward trainer, and how many more pairs a CPU-second does it take?

Both start from the same weights (a Llama of 1.18 M parameters in float32) and take the same optimizer steps on the same
prompts with all pairs of their completions; TRL runs two sequences a pair, ours one a completion, and by default each
prompt once. Quality comes first: held-out accuracy and loss after the same prompts, over several seeds. Then speed, on
one thread: each side is a process that stays and takes turns, so that both see the same neighbours; start-up, the
first turn and the last, which saves, are left out. ``padded`` is ours with ``--no-packed``: a padded row for each
completion.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import LlamaForCausalLM

from benchmarks.bench_incremental import STUDENT_T
from benchmarks.common import ROOT, Bar, log, report
from benchmarks.ppo_gate import Worker
from benchmarks.ppo_world import Problem
from benchmarks.reward_world import HELD_OUT, Ranked, Setting, draw, ready, scalar_model, write
from trainer.maths.losses import kwise_loss
from trainer.models.normalisation import score_groups
from trainer.models.scalar import ScalarModel

DIRECTORY = ROOT / "var" / "bench" / "reward"
PEERS = Path(sys.prefix) / "peers"
TURNS, STEPS_A_TURN = 7, 1
QUALITY = Setting(k=4, tokens=32, prompts=8, steps=40)
SPEED = {
    "k2": Setting(k=2, tokens=32, prompts=24, steps=TURNS * STEPS_A_TURN),
    "k4": Setting(k=4, tokens=32, prompts=12, steps=TURNS * STEPS_A_TURN),
    "k9": Setting(k=9, tokens=32, prompts=6, steps=TURNS * STEPS_A_TURN),
    "k4_long": Setting(k=4, tokens=64, prompts=6, steps=TURNS * STEPS_A_TURN),
    "k9_long": Setting(k=9, tokens=64, prompts=3, steps=TURNS * STEPS_A_TURN),
}
"""By name: completions of a prompt, and prompts as long as completions, of 32 tokens or 64."""
SIDES = ("trl", "packed", "padded")
Turn = dict[str, Any]


def main() -> None:
    """Measure quality, then speed, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_reward", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the rows and their order")
    parser.add_argument("--settings", nargs="*", default=list(SPEED), choices=list(SPEED), help="whose speed to take")
    parser.add_argument("--go-on", action="store_true", help="keep what an interrupted run has measured")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.go_on:
        shutil.rmtree(DIRECTORY, ignore_errors=True)
    problem = ready(Problem(DIRECTORY / "problem"))
    learned = {f"quality-{seed}": replace(QUALITY, seed=seed) for seed in given.seeds}
    fast = {f"speed-{name}": SPEED[name] for name in given.settings}
    found = measure(problem, learned | fast)
    start = LlamaForCausalLM.from_pretrained(problem.directory / "policy")
    figures = {
        "quality": compare([found[name] for name in learned]),
        "speed": {name: speed_of(found[f"speed-{name}"], SPEED[name]) for name in given.settings},
        "parameters": sum(p.numel() for p in start.parameters()),
        "load_average": os.getloadavg(), "cores": os.cpu_count(),
    }  # fmt: skip
    report("reward", figures, bars(figures))


def measure(problem: Problem, pieces: Mapping[str, Setting]) -> dict[str, Any]:
    """Return what each piece gave, those kept from an interrupted run without doing them again.

    Each side is one process for all pieces, and waits where it has no turn.
    """
    todo = {name: setting for name, setting in pieces.items() if not (DIRECTORY / f"{name}.json").is_file()}
    for name, setting in todo.items():
        shutil.rmtree(DIRECTORY / name, ignore_errors=True)
        write(setting, problem, DIRECTORY / name)
    with ExitStack() as stack:
        workers = {}
        for side in SIDES:
            if data := [DIRECTORY / name for name in todo if side in sides_of(name)]:
                workers[side] = stack.enter_context(worker(problem, data, side))
        for name, setting in tqdm(todo.items(), desc="reward", unit="piece"):
            own = {side: workers[side] for side in sides_of(name)}
            done = quality(problem, setting, own) if name.startswith("quality") else turns(own)
            (DIRECTORY / f"{name}.json").write_text(json.dumps(done))
            log(f"{name} measured")
    return {name: json.loads((DIRECTORY / f"{name}.json").read_text()) for name in pieces}


def sides_of(name: str) -> tuple[str, ...]:
    """Return who takes part in a piece: padded rows are as good as packed ones, and long ones are left out."""
    return SIDES if name.startswith("speed") and not name.endswith("long") else SIDES[:2]


def quality(problem: Problem, setting: Setting, workers: Mapping[str, Worker]) -> dict[str, dict[str, float]]:
    """Train both sides on one seed's rows; return each one's held-out accuracy and loss."""
    directory = DIRECTORY / f"quality-{setting.seed}"
    rows = draw(setting, problem, HELD_OUT, seed=10_000 + setting.seed)
    for each in workers.values():
        each.go(setting.steps)
    return {
        "trl": judged(scalar_model(directory / "trl" / "reward"), rows),
        "packed": judged(ScalarModel.load(directory / "packed" / "reward"), rows),
    }


def judged(model: ScalarModel, rows: Sequence[Ranked]) -> dict[str, float]:
    """Return the share of pairs that a model gets right, and the K-wise loss in nats."""
    scores = iter(score_groups(model, [row.prompt for row in rows], [row.completions for row in rows], 0))
    hits, losses = [], []
    for row in rows:
        rewards_K = torch.tensor([next(scores) for _ in row.completions])
        pairs = [(a, b) for b in range(len(rewards_K)) for a in range(b)]
        hits += [bool(rewards_K[a] > rewards_K[b]) for a, b in pairs]
        losses.append(float(kwise_loss(rewards_K, pairs)))
    return {"accuracy": statistics.fmean(hits), "loss": statistics.fmean(losses)}


def turns(workers: Mapping[str, Worker]) -> dict[str, list[Turn]]:
    """Let the sides take turns; return what each one's cost, without the first and the last: they load and save."""
    found: dict[str, list[Turn]] = {side: [] for side in workers}
    for number in range(TURNS):
        for side, each in workers.items():
            turn = each.go(STEPS_A_TURN) | {"load_average": os.getloadavg()[0]}
            if 0 < number < TURNS - 1:
                found[side].append(turn)
    return found


def worker(problem: Problem, data: Sequence[Path], side: str) -> Worker:
    """Start one side's process on the rows in these directories."""
    for each in data:
        (each / side).mkdir()
    module = "benchmarks.peers.trl_reward" if side == "trl" else "benchmarks.reward_ours"
    path = [str(PEERS / "trl-1.16.0"), str(PEERS / "shared"), str(ROOT)] if side == "trl" else [str(ROOT)]
    environment = {
        "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    given = {"problem": str(problem.directory), "data": [str(each) for each in data], "side": side}
    return Worker([sys.executable, "-m", module, json.dumps(given)], environment, DIRECTORY / f"{side}.log")


def speed_of(turns: Mapping[str, Sequence[Turn]], setting: Setting) -> dict[str, Any]:
    """Return each side's pairs per CPU-second (median, least, most) and ours as multiples of TRL's median.

    Raises:
        ValueError: a side took more or fewer optimizer steps than it was asked for.
    """
    found: dict[str, Any] = {}
    for side, each in turns.items():
        if any(turn["steps_per_iteration"] != [1.0] for turn in each):
            raise ValueError(f"{side} did not take one optimizer step each time: {each}")
        rates = [STEPS_A_TURN * setting.pairs / turn["cpu_s"] for turn in each]
        found[side] = {
            "pairs_per_cpu_s": statistics.median(rates), "least": min(rates), "most": max(rates), "turns": len(rates),
            "pairs_per_wall_s": statistics.median(STEPS_A_TURN * setting.pairs / turn["wall_s"] for turn in each),
            "load_average": max(turn["load_average"] for turn in each),
        }  # fmt: skip
    slow = found["trl"]["pairs_per_cpu_s"]
    return found | {"ratio": {side: found[side]["pairs_per_cpu_s"] / slow for side in found if side != "trl"}}


def compare(learned: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Return means of both sides over seeds, and ours minus theirs with a 95 % interval of Student's t."""
    found: dict[str, Any] = {"seeds": len(learned), "prompts_seen": QUALITY.prompts * QUALITY.steps}
    for name in ("accuracy", "loss"):
        sides = {side: [each[side][name] for each in learned] for side in ("packed", "trl")}
        differences = [ours - theirs for ours, theirs in zip(sides["packed"], sides["trl"], strict=True)]
        mean, half = statistics.fmean(differences), 0.0
        if len(differences) > 1:
            half = STUDENT_T[len(differences)] * statistics.stdev(differences) / len(differences) ** 0.5
        found[name] = {side: statistics.fmean(values) for side, values in sides.items()}
        found[name] |= {"difference": mean, "interval": [mean - half, mean + half]}
        found[name]["largest_difference"] = max(map(abs, differences))
    return found


def bars(figures: Mapping[str, Any]) -> list[Bar]:
    """Return what was promised; of settings that were measured only."""
    accuracy, loss = figures["quality"]["accuracy"], figures["quality"]["loss"]
    promised = [
        Bar("held-out accuracy, ours minus TRL's, upper end of the interval", accuracy["interval"][1], ">=", 0.0),
        Bar("held-out accuracy, largest difference of a seed", accuracy["largest_difference"], "<=", 0.02),
        Bar("held-out loss, largest difference of a seed, nats", loss["largest_difference"], "<=", 0.02),
    ]
    for name, side, target, what in (
        ("k2", "packed", 1.0, "independent pairs"),
        ("k4", "padded", 2.8, "K=4, one row a completion"),
        ("k9", "padded", 7.0, "K=9, one row a completion"),
        ("k4", "packed", 4.0, "K=4, prompt once, 32 + 32 tokens"),
        ("k9", "packed", 12.0, "K=9, prompt once, 32 + 32 tokens"),
        ("k4_long", "packed", 4.0, "K=4, prompt once, 64 + 64 tokens"),
        ("k9_long", "packed", 12.0, "K=9, prompt once, 64 + 64 tokens"),
    ):
        if name in figures["speed"]:
            ratio = figures["speed"][name]["ratio"][side]
            promised.append(Bar(f"pairs per CPU-second against TRL: {what}", ratio, ">=", target))
    return promised


if __name__ == "__main__":
    main()
