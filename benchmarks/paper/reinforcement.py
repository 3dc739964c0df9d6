"""A PPO run that is looked at on its way: by the gold taste at every iteration, on held-out prompts every few of them.

Knows the trainer's iterations and when to measure; the measurements are in `benchmarks.paper.measure`. Guards do not
stop these runs: what goes wrong is what is looked at.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.paper.measure import Examiner, Figures, gold_scores
from benchmarks.paper.plan import EVERY, Arm, settle
from benchmarks.paper.world import World
from trainer.ppo.job import PpoJob, build_job, input_files
from trainer.ppo.ppo import iterate
from trainer.running.run import open_run
from trainer.settings.ppo import PpoSettings

Rows = list[dict[str, float]]
_COLUMNS = {
    "kl_nats": "objective/kl",
    "reward": "objective/scores",
    "gold": "objective/held_out_scores",
    "length_tokens": "episode/length_tokens",
    "eos_rate": "episode/eos_rate",
    "entropy_nats": "ppo/policy/entropy_avg",
}


class Trained(NamedTuple):
    """Figures and series of a run; see `benchmarks.paper.plan`."""

    figures: Figures
    series: dict[str, Rows]


def train(arm: Arm, world: World, start: Path, reward: Path, output: Path, seed: int) -> Trained:
    """Train a policy from ``start`` against ``reward``, write it to ``output`` and return what was seen on the way."""
    settings = _settings(arm, world, start, reward, output, seed)
    with open_run("ppo", settings, input_files(settings)) as this:
        job = build_job(settings, this.device, needs_reward_model=True, directory=this.own_directory)
        examiner = Examiner(world, start)
        training: Rows = []
        points: Rows = [_point(job, examiner)]
        for _ in tqdm(range(settings.iterations), desc=arm.name, leave=False):
            metrics = iterate(job, settings, None, gold_scores)
            training.append({"iteration": float(job.iteration - 1)} | _columns(metrics))
            if job.iteration % EVERY == 0 or job.iteration == settings.iterations:
                points.append(_point(job, examiner))
        raw = _measured(job, examiner, averaged=False)
        job.export(this.directory)
        job.sampler.close()
        this.finish({"iterations": job.iteration})
    first, last = points[0], points[-1]
    figures = {
        "kl_nats": last["kl_nats"],
        "reward_mean": last["reward"],
        "start_reward_mean": first["reward"],
        "start_gold_mean": first["gold"],
        "start_pretraining_loss": first["pretraining_loss"],
        "raw_gold_mean": raw["gold"],
        "raw_reward_mean": raw["reward"],
        "raw_kl_nats": raw["kl_nats"],
        "raw_pretraining_loss": raw["pretraining_loss"],
    }
    return Trained(figures, {"training": training, "points": points})


def _settings(arm: Arm, world: World, start: Path, reward: Path, output: Path, seed: int) -> PpoSettings:
    given: dict[str, Any] = {
        "policy": start,
        "reward": reward,
        "prompts": [world.prompts],
        "pretraining": [world.text],
        "output": output,
        "seed": seed,
    }
    settings = settle("ppo", PpoSettings, given | dict(arm.options))
    iterations = int(getattr(world.sizes, arm.iterations))
    return settings.model_copy(update={"episodes": iterations * settings.batch_size})


def _columns(metrics: dict[str, float]) -> dict[str, float]:
    return {column: metrics[name] for column, name in _COLUMNS.items() if name in metrics}


def _point(job: PpoJob, examiner: Examiner) -> dict[str, float]:
    return {"iteration": float(job.iteration)} | _measured(job, examiner, averaged=True)


def _measured(job: PpoJob, examiner: Examiner, *, averaged: bool) -> Figures:
    assert job.reward is not None
    policy = job.learner.policy
    if averaged:
        policy = copy.deepcopy(policy)
        job.average.copy_to(policy)
    return examiner.point(policy, job.reference, job.reward)
