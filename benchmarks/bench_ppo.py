"""Is our PPO faster and smaller than TRL 1.12's `PPOTrainer`, the last one there was, and does it learn as much?

Both get one problem (`benchmarks.ppo_world`): the same weights, tokens, prompts, reward model, batch, minibatches,
rate, coefficients. Both run as users run them, whole, one thread each, in alternating turns of a few iterations
(`benchmarks.ppo_gate`); the first turn of each is discarded. Parts, each kept when it is done, so that an interrupted
benchmark can go on:

- ``learning-N``, a seed each: whole runs in turns; episodes a CPU-second, and the final policies' gold reward. Policies
  learn to end their completions, so later turns have shorter ones; how long they are is in the figures;
- ``full-length-32`` and ``full-length-128`` (response tokens): a rate too small to change anything, so that nearly all
  completions run to the cap; only seconds are compared;
- ``variants``: ours with clipping of gradients, and with pretraining text and average, beside ours without;
- ``memory``: peak of the process at a vocabulary of 32,768.

Speed counts only at equal gold reward.
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
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.common import ROOT, Bar, log, report
from benchmarks.ppo_gate import Worker
from benchmarks.ppo_world import HELD_OUT, Problem, shared_settings

DIRECTORY = ROOT / "var" / "bench" / "ppo"
PEERS = Path(sys.prefix) / "peers"
SEEDS = (1, 2, 3, 4)
TURNS, LEARNING_ITERATIONS = 6, 8
STILL = 1e-9
"""A learning rate at which no completion changes."""
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
    figures: Figures = {part: json.loads((DIRECTORY / f"{part}.json").read_text()) for part in PARTS}
    figures["summary"] = summary(figures)
    report("ppo", figures, bars(figures))


def learning(seed: int) -> Figures:
    """Whole runs of both sides in turns, and what their policies have learned."""
    problem = ready(512)
    found = in_turns(problem, ["trl", "ours"], LEARNING_ITERATIONS, seed=seed)
    start = judge(problem, problem.directory / "policy", seed)
    learned = {side: judge(problem, output(side, seed) / "policy", seed) for side in ("trl", "ours")}
    return found | {"seed": seed, "start": start, "learned": learned}


def in_turns(problem: Problem, sides: Sequence[str], iterations: int, **given: Any) -> Figures:
    """What the sides cost, each in ``TURNS`` turns of so many iterations, one side after the other."""
    turns: dict[str, list[Figures]] = {side: [] for side in sides}
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        workers = {side: stack.enter_context(worker(problem, side, TURNS * iterations, **given)) for side in sides}
        for _ in tqdm(range(TURNS), desc="turns", unit="turn"):
            for side, each in workers.items():
                turns[side].append(each.go(iterations))
                require_equal_steps(side, turns[side][-1])
        for each in workers.values():
            each.wait()
    return {
        "iterations_a_turn": iterations,
        "load_average": [load_before, os.getloadavg()[0]],
        "sides": {side: costs(own[1:], iterations) for side, own in turns.items()},
        "times_first": {side: ratios(turns[sides[0]][1:], turns[side][1:]) for side in sides[1:]},
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
    "memory": memory,
    **{f"learning-{seed}": partial(learning, seed) for seed in SEEDS},
    "full-length-32": lambda: in_turns(ready(512), ["trl", "ours"], 2, lr=STILL),
    "full-length-128": lambda: in_turns(ready(512), ["trl", "ours"], 1, lr=STILL, response_tokens=128),
    "variants": lambda: in_turns(ready(512), ["ours", "ours-clipping", "ours-ptx-ema"], 2, lr=STILL),
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


def worker(problem: Problem, side: str, iterations: int, *, seed: int = 1, **told: Any) -> Worker:
    """Start one side's process, told what both are told with these changes."""
    place = output(side, seed)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    text = {"pretraining": [str(problem.directory / "text.txt")]} if "ptx_coef" in SIDES[side] else {}
    given = shared_settings(**told) | {
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


def judge(problem: Problem, directory: Path, seed: int) -> Figures:
    """Gold reward, KL to the start in nats and EOS rate of a policy, sampled on prompts that no run saw."""
    import torch

    from benchmarks.ppo_world import EOS, PAD
    from trainer.models.policies import load_policy
    from trainer.ppo.experience import score_rollout
    from trainer.rollouts.transformers_sampler import TransformersSampler

    torch.set_num_threads(1)
    policy, start = load_policy(directory), load_policy(problem.directory / "policy")
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


def interval(values: Sequence[float]) -> Figures:
    """Mean and 95 % interval (Student's t) of a few values."""
    mean = statistics.fmean(values)
    half = STUDENT_T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": list(values)}


def costs(turns: Sequence[Figures], iterations_a_turn: int) -> Figures:
    """One side's turns: median and range of episodes a CPU-second, CPU-seconds an iteration by phase, peak memory."""
    rates = [turn["episodes"] / turn["cpu_s"] for turn in turns]
    iterations = len(turns) * iterations_a_turn
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


def summary(parts: dict[str, Figures]) -> Figures:
    """What the seeds say together: gold reward, ours minus TRL's, and all their pairs of turns."""
    seeds = [parts[f"learning-{seed}"] for seed in SEEDS]
    pairs = [ratio for each in seeds for ratio in each["times_first"]["ours"]["values"]]
    learned = [each["learned"] for each in seeds]
    return {
        "gold_difference": interval([each["ours"]["gold"] - each["trl"]["gold"] for each in learned]),
        "gold_gain_of_ours": interval([each["learned"]["ours"]["gold"] - each["start"]["gold"] for each in seeds]),
        "times_trl": spread(pairs),
        "times_trl_at_full_length": {
            tokens: parts[f"full-length-{tokens}"]["times_first"]["ours"]["median"] for tokens in (32, 128)
        },
    }


def bars(figures: Figures) -> list[Bar]:
    """What was promised beside what was measured; without equal gold reward no speed counts (0)."""
    together = figures["summary"]
    gold = together["gold_difference"]["high"]
    return [
        Bar("gold_reward_not_lower_than_trl", gold, ">=", 0.0),
        Bar("gold_reward_gained", together["gold_gain_of_ours"]["low"], ">", 0.0),
        Bar("episodes_per_cpu_s_of_trl", together["times_trl"]["median"] if gold >= 0.0 else 0.0, ">=", 2.0),
        Bar("peak_memory_of_trl", figures["memory"]["ours_of_trl"], "<=", 0.7),
    ]


if __name__ == "__main__":
    main()
