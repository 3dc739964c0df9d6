"""Invented results of every arm, for tests of what is made from results; they are nobody's figures."""

import json
import math
import random
from pathlib import Path
from typing import Any

POLICIES = {"base": 0.1, "base-few-shot": 0.0, "tasks": 0.2, "sft": 0.5, "start": 0.45, "ppo": 0.8, "ppo-large-kl": 0.6,
            "ppo-ptx": 0.9, "ppo-no-whitening": 0.85, "ppo-reward-pairs": 0.8, "ppo-long": 0.3}  # fmt: skip
"""Arms that answer, with their mean gold score."""
TASKS = ("classification", "closed_qa", "counting", "lists", "open_qa", "past")
LOSS = {"ppo": 0.2, "ppo-large-kl": 0.08, "ppo-ptx": 0.01, "ppo-no-whitening": 0.01, "ppo-reward-pairs": 0.01,
        "ppo-long": 0.6}  # fmt: skip


def write(root: Path, seeds: tuple[int, ...] = (1, 2, 3), prompts: int = 60) -> Path:
    """Write ``seed-S/ARM/result.json`` of all arms below a directory and return it."""
    for seed in seeds:
        rng = random.Random(seed)
        for arm, gold in POLICIES.items():
            _write(root, seed, arm, **_policy(arm, gold, rng, prompts))
        for number in range(5):
            own = 0.72 + rng.gauss(0, 0.01)
            ceilings = {"own_ceiling": 0.75, "other_ceiling": 0.76}
            figures = {"own_accuracy": own, "other_accuracy": own - 0.01 + rng.gauss(0, 0.002)} | ceilings
            _write(root, seed, f"reward-fold-{number}", figures=figures)
        for arm, overfit in (("reward", 0.01), ("reward-pairs", 0.05)):
            _write(root, seed, arm, **_reward(overfit, rng))
        agreed = {"agreement": 0.73, "agreement_held_out": 0.76, "rows": 800.0, "pairs": 12000.0, "K_mean": 6.5}
        _write(root, seed, "comparisons", figures=agreed)
    return root


def _policy(arm: str, gold: float, rng: random.Random, prompts: int) -> dict[str, Any]:
    good = max(0.0, min(1.0, gold))
    figures = {
        "gold_mean": gold, "helpful_mean": good, "follows_rate": good, "untrue_rate": 0.2 - 0.1 * good,
        "rude_rate": 0.13 * (1 - good) + 0.01 * rng.random(), "rude_respectful_rate": 0.12 * (1 - good) + 0.01,
        "stops_rate": 0.9, "courtesy_mean": 0.5 * good, "hallucination_rate": 0.45 - 0.35 * good,
        "not_stated_rate": 0.05, "length_tokens": 8.0, "eos_rate": 1.0, "entropy_nats": 0.5, "pretraining_loss": 0.65,
        "task_accuracy": 0.6 - LOSS.get(arm, 0.0), "task_exact": 0.3, "task_few_shot_accuracy": 0.4,
        "task_few_shot_exact": 0.2,
    }  # fmt: skip
    figures |= {f"task_accuracy_{task}": 0.6 for task in TASKS} | {f"task_few_shot_accuracy_{t}": 0.4 for t in TASKS}
    scores = {"gold": [gold + rng.gauss(0, 0.6) for _ in range(prompts)]}
    if arm not in LOSS:
        return {"figures": figures, "prompts": scores}
    points = [_point(arm, step / 20, rng) for step in range(21)]
    figures |= {"kl_nats": points[-1]["kl_nats"], "reward_mean": points[-1]["reward"]}
    figures |= {f"start_{name}_mean": points[0][name] for name in ("reward", "gold")}
    figures |= {"start_pretraining_loss": points[0]["pretraining_loss"]}
    figures |= {f"raw_{name}": points[-1][name] for name in ("kl_nats", "pretraining_loss")}
    figures |= {f"raw_{name}_mean": points[-1][name] for name in ("reward", "gold")}
    return {"figures": figures, "prompts": scores, "series": {"points": points, "training": [{"iteration": 0.0}]}}


def _point(arm: str, share: float, rng: random.Random) -> dict[str, float]:
    most = 60.0 if arm == "ppo-long" else 9.0
    d = math.sqrt(most * share)
    gold = 0.45 + d * (0.5 - 0.22 * math.log(d)) if d and arm == "ppo-long" else 0.45 + 0.14 * d
    return {
        "iteration": 200 * share, "kl_nats": most * share, "reward": 0.3 * d + rng.gauss(0, 0.01),
        "gold": gold + rng.gauss(0, 0.01), "pretraining_loss": 0.65 * (1 + LOSS[arm] * share),
    }  # fmt: skip


def _reward(overfit: float, rng: random.Random) -> dict[str, Any]:
    rows = [
        {"epoch": float(number), "train_loss": 0.55 - overfit * number, "train_accuracy": 0.72 + overfit * number,
         "held_out_loss": 0.56 + overfit * number + 0.002 * rng.random(), "held_out_accuracy": 0.71 - overfit * number}
        for number in (1, 2, 3)
    ]  # fmt: skip
    figures = {
        "held_out_labelers_accuracy": 0.74,
        "gold_accuracy": 0.85,
        "ceiling": 0.78,
        "held_out_labelers_ceiling": 0.8,
    }
    return {"figures": figures | {k: v for k, v in rows[0].items() if k != "epoch"}, "series": {"epochs": rows}}


def _write(root: Path, seed: int, arm: str, **result: Any) -> None:
    directory = root / f"seed-{seed}" / arm
    directory.mkdir(parents=True)
    told = {"arm": arm, "seed": seed, "identity": "made up", "commit": "0000000", "cpu_s": 1.0, "wall_s": 1.0}
    (directory / "result.json").write_text(json.dumps(told | result))
