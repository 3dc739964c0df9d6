"""Is our PPO faster and smaller than TRL 1.12's `PPOTrainer`, the last one there was, and does it learn as much?

Both get one problem (`benchmarks.ppo_world`): the same weights, tokens, prompts, reward model, batch, minibatches, rate,
coefficients. Both run as users run them, whole, one thread each, in alternating turns of a few iterations
(`benchmarks.ppo_gate`); the first turn of each is discarded. Parts, each kept when it is done, so that an interrupted
benchmark can go on: ``quality`` (gold reward at equal episodes, by seeds), ``speed-32``, ``speed-128`` (response
tokens), ``memory`` (peak of the process at a vocabulary of 32,768). Speed counts only at equal quality.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.common import ROOT, Bar, log, report
from benchmarks.ppo_gate import Worker
from benchmarks.ppo_world import HELD_OUT, Problem, shared_settings

DIRECTORY = ROOT / "var" / "bench" / "ppo"
PEERS = Path(sys.prefix) / "peers"
SEEDS, QUALITY_ITERATIONS = (1, 2, 3), 30
TURNS, TURN_ITERATIONS = 6, 2
STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
"""Two-sided 95 % quantile of Student's t by number of seeds."""
SIDES: dict[str, dict[str, Any]] = {
    "trl": {},
    "ours": {},
    "ours-clipping": {"max_grad_norm": 1.0},
    "ours-ptx-ema": {"ptx_per_episode": 1.0, "ptx_block_tokens": 64, "ptx_packed": False, "ptx_coef": 1.0,
                     "ema_decay": 0.992, "max_grad_norm": 1.0},
}  # fmt: skip
"""What each side is told beside the problem; the pretraining text is as long as prompt and response of 32."""
Figures = dict[str, Any]


def main() -> None:
    """Measure what is not measured yet, and report once all parts are there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_ppo", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="measure only these")
    parser.add_argument("--go-on", action="store_true", help="keep parts that are there from an interrupted run")
    given = parser.parse_args()
    if not given.go_on and list(given.parts) == list(PARTS):
        shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for part in given.parts:
        kept = DIRECTORY / f"{part}.json"
        if not (given.go_on and kept.is_file()):
            log(part)
            kept.write_text(json.dumps(PARTS[part](), indent=1) + "\n")
    missing = [part for part in PARTS if not (DIRECTORY / f"{part}.json").is_file()]
    if missing:
        log(f"not measured yet, no report: {', '.join(missing)}")
        return
    figures = {part: json.loads((DIRECTORY / f"{part}.json").read_text()) for part in PARTS}
    report("ppo", figures, bars(figures))


def quality() -> Figures:
    """Gold reward, KL and EOS rate of both sides' final policies at equal episodes, for each seed."""
    problem = ready(512)
    found: dict[str, list[Figures]] = {"trl": [], "ours": []}
    for seed in tqdm(SEEDS, desc="quality", unit="seed"):
        with ExitStack() as stack:
            workers = {
                side: stack.enter_context(worker(problem, side, QUALITY_ITERATIONS, seed=seed)) for side in found
            }
            for side, each in workers.items():
                turn = each.go(QUALITY_ITERATIONS)
                require_equal_steps(side, turn)
                each.wait()
                found[side].append(judge(problem, output(side, seed), seed) | {"episodes": turn["episodes"]})
    return {"seeds": list(SEEDS), **found, "gold_difference": interval(differences(found))}


def speed(response_tokens: int, sides: Sequence[str]) -> Figures:
    """Episodes a CPU-second of each side, in alternating turns."""
    problem = ready(512)
    iterations = TURNS * TURN_ITERATIONS
    turns: dict[str, list[Figures]] = {side: [] for side in sides}
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        workers = {
            side: stack.enter_context(worker(problem, side, iterations, response_tokens=response_tokens))
            for side in sides
        }
        for _ in tqdm(range(TURNS), desc=f"speed at {response_tokens}", unit="pair"):
            for side, each in workers.items():
                turns[side].append(each.go(TURN_ITERATIONS))
                require_equal_steps(side, turns[side][-1])
    return {
        "turns_counted": TURNS - 1,
        "iterations_a_turn": TURN_ITERATIONS,
        "load_average": [load_before, os.getloadavg()[0]],
        **{side: costs(own[1:]) for side, own in turns.items()},
        "times_trl": {side: ratios(turns["trl"][1:], own[1:]) for side, own in turns.items() if side != "trl"},
    }


def memory() -> Figures:
    """Peak resident memory of both processes, two iterations at a vocabulary of 32,768; imports and all included."""
    problem = ready(32_768)
    found: Figures = {"vocabulary": problem.vocabulary}
    for side in ("trl", "ours"):
        with worker(problem, side, 2) as each:
            turn = each.go(2)
            require_equal_steps(side, turn)
            found[side] = {"peak_rss_mib": turn["peak_rss_mib"], "cpu_s_per_iteration": turn["cpu_s"] / 2}
    return found | {"ours_of_trl": found["ours"]["peak_rss_mib"] / found["trl"]["peak_rss_mib"]}


PARTS: dict[str, Callable[[], Figures]] = {
    "quality": quality,
    "speed-32": lambda: speed(32, list(SIDES)),
    "speed-128": lambda: speed(128, ["trl", "ours"]),
    "memory": memory,
}


def ready(vocabulary: int) -> Problem:
    """The problem, written for both sides."""
    from benchmarks.ppo_ours import ready_models

    problem = Problem(DIRECTORY / f"problem-{vocabulary}", vocabulary).write()
    ready_models(problem.directory)
    return problem


def output(side: str, seed: int) -> Path:
    """Where a side's run goes."""
    return DIRECTORY / "runs" / f"{side}-{seed}"


def worker(problem: Problem, side: str, iterations: int, *, seed: int = 1, response_tokens: int = 32) -> Worker:
    """Start one side's process."""
    place = output(side, seed)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    text = {"pretraining": [str(problem.directory / "text.txt")]} if "ptx_coef" in SIDES[side] else {}
    given = shared_settings(response_tokens=response_tokens) | {
        "directory": str(problem.directory), "output": str(place), "iterations": iterations, "seed": seed,
        "settings": SIDES[side] | text,
    }  # fmt: skip
    home = PEERS / "trl-1.12.0"
    paths = [home, PEERS / "shared", ROOT] if side == "trl" else [ROOT]
    module = "benchmarks.peers.trl_ppo" if side == "trl" else "benchmarks.ppo_ours"
    if side == "trl" and not home.is_dir():
        raise FileNotFoundError(f"TRL 1.12.0 is not at {home}; `deploy/setup.sh test` installs it")
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1",
    }  # fmt: skip
    return Worker([sys.executable, "-m", module, json.dumps(given)], environment, place / "log")


def require_equal_steps(side: str, turn: Figures) -> None:
    """Refuse a side that does not take as many optimizer steps an iteration as there are minibatches.

    Raises:
        RuntimeError: it does not; ours steps two optimizers, policy and value model, TRL one for both.
    """
    expected = [float(shared_settings()["minibatches"])] * (1 if side == "trl" else 2)
    if turn["steps_per_iteration"] != expected:
        raise RuntimeError(f"{side} took {turn['steps_per_iteration']} optimizer steps an iteration, not {expected}")


def judge(problem: Problem, run: Path, seed: int) -> Figures:
    """Gold reward, KL to the start in nats and EOS rate of a run's final policy, sampled on prompts it never saw."""
    import torch

    from benchmarks.ppo_world import EOS, PAD
    from trainer.models.policies import load_policy
    from trainer.ppo.experience import score_rollout
    from trainer.rollouts.transformers_sampler import TransformersSampler

    torch.set_num_threads(1)
    policy, start = load_policy(run / "policy"), load_policy(problem.directory / "policy")
    sampler = TransformersSampler(policy, eos_id=EOS, pad_id=PAD, max_completion_tokens=32)
    rollout = sampler.sample(problem.prompts(HELD_OUT, seed=1000 + seed), seed)
    scored = score_rollout(
        rollout, policy=policy, reference=start, value=None, reward=None, temperature=1.0, micro_batch_tokens=2048
    )
    return {
        "gold": statistics.fmean(problem.gold(rollout.completions())),
        "kl_nats": (scored.logprobs_BA - scored.ref_logprobs_BA).sum(1).mean().item(),
        "eos_rate": rollout.finished_B.float().mean().item(),
        "completion_tokens": rollout.completion_tokens_B.float().mean().item(),
    }


def differences(found: dict[str, list[Figures]]) -> list[float]:
    """Ours minus TRL's gold reward, seed by seed."""
    return [ours["gold"] - trl["gold"] for ours, trl in zip(found["ours"], found["trl"], strict=True)]


def interval(values: Sequence[float]) -> Figures:
    """Mean and 95 % interval (Student's t) of a few values."""
    mean = statistics.fmean(values)
    half = STUDENT_T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": list(values)}


def costs(turns: Sequence[Figures]) -> Figures:
    """One side's turns: median and range of episodes a CPU-second, CPU-seconds an iteration by phase, peak memory."""
    rates = [turn["episodes"] / turn["cpu_s"] for turn in turns]
    iterations = len(turns) * TURN_ITERATIONS
    phases = {
        phase: sum(turn["phases_cpu_s"].get(phase, 0.0) for turn in turns) / iterations
        for phase in ("generate", "train")
    }
    total = sum(turn["cpu_s"] for turn in turns) / iterations
    return {
        "episodes_per_cpu_s": spread(rates),
        "episodes_per_wall_s": spread([turn["episodes"] / turn["wall_s"] for turn in turns]),
        "cpu_s_per_iteration": phases | {"score_and_rest": total - sum(phases.values()), "all": total},
        "steps_per_iteration": turns[-1]["steps_per_iteration"],
        "peak_rss_mib": turns[-1]["peak_rss_mib"],
    }


def ratios(theirs: Sequence[Figures], ours: Sequence[Figures]) -> Figures:
    """How many times as many episodes a CPU-second, pair by pair."""
    return spread(
        [own["episodes"] / own["cpu_s"] * other["cpu_s"] / other["episodes"]
         for other, own in zip(theirs, ours, strict=True)]
    )  # fmt: skip


def spread(values: Sequence[float]) -> Figures:
    """Median and range."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "values": list(values)}


def bars(figures: Figures) -> list[Bar]:
    """What was promised beside what was measured; without equal gold reward no speed counts (0)."""
    gold = figures["quality"]["gold_difference"]
    equal = gold["high"] >= 0.0
    times = figures["speed-32"]["times_trl"]["ours"]["median"]
    return [
        Bar("gold_reward_not_lower", gold["high"], ">=", 0.0),
        Bar("episodes_per_cpu_s_of_trl", times if equal else 0.0, ">=", 2.0),
        Bar("peak_memory_of_trl", figures["memory"]["ours_of_trl"], "<=", 0.7),
    ]


if __name__ == "__main__":
    main()
