"""How an arm is run: a trainer stage or two with the plan's settings, then the measurements, then ``result.json``.

Knows directories, stages and the order of work within one arm; what arms there are is in `benchmarks.paper.plan`, what
is measured in `benchmarks.paper.measure`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import commit
from benchmarks.paper import comparisons, reinforcement
from benchmarks.paper.measure import Examiner
from benchmarks.paper.plan import BY_NAME, REWARD_EPOCH, VERSION, Arm, Sizes, digest, identity, settle
from benchmarks.paper.world import World
from deploy.base import SHIPPED
from trainer.models.policies import load_policy
from trainer.settings.stages import SftSettings, StartSettings
from trainer.stages import sft, start

RESULT, FIRST = "result.json", "comparisons-first"
Result = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where an arm of a seed is run, with what.

    Attributes:
        root: directory of all seeds' results.
        seed: of data and training.
        sizes: how much of everything.
    """

    root: Path
    seed: int
    sizes: Sizes

    @property
    def directory(self) -> Path:
        """Of the seed."""
        return self.root / f"seed-{self.seed}"

    def of(self, arm: str) -> Path:
        """Directory of an arm."""
        return self.directory / arm

    def policy(self, arm: str) -> Path:
        """Directory of the policy that an arm made; the shipped one is the base."""
        return SHIPPED if arm == "base" else self.of(arm) / "policy"

    def world(self) -> World:
        """The files of the seed."""
        return World(self.directory / f"world-{digest([VERSION, asdict(self.sizes)])}", self.seed, self.sizes)


def found(place: Place, arm: Arm) -> Result | None:
    """Return an arm's result if it has one that is still valid."""
    try:
        result: Result = json.loads((place.of(arm.name) / RESULT).read_text())
    except (OSError, ValueError):
        return None
    return result if result.get("identity") == identity(arm, place.sizes, place.seed) else None


def run_arm(name: str, place: Place) -> Result:
    """Run one arm in this process, all that it needs being there, and write its result."""
    arm = BY_NAME[name]
    if (result := found(place, arm)) is not None:
        return result
    torch.set_num_threads(1)
    shutil.rmtree(place.of(name), ignore_errors=True)
    place.of(name).mkdir(parents=True)
    began = (time.monotonic(), time.process_time())
    measured = _RUNNERS[arm.kind](arm, place)
    result = {
        "arm": name,
        "seed": place.seed,
        "identity": identity(arm, place.sizes, place.seed),
        "commit": commit(),
        "cpu_s": round(time.process_time() - began[1], 2),
        "wall_s": round(time.monotonic() - began[0], 2),
        **measured,
    }
    partial = place.of(name) / f"{RESULT}.partial"
    partial.write_text(json.dumps(result) + "\n")
    partial.replace(place.of(name) / RESULT)
    return result


def _examine(arm: Arm, place: Place) -> Result:
    """The base itself, alone or with worked examples before the prompt."""
    return _examined(place, "base", few_shot=arm.kind == "few-shot")


def _fine_tune(arm: Arm, place: Place) -> Result:
    world, output = place.world(), place.policy(arm.name)
    given = {"policy": SHIPPED, "output": output, "seed": place.seed, **arm.options}
    if arm.name == "start":
        data = {"demonstrations": [world.demonstrations], "text": [world.text]}
        start.run(settle("start", StartSettings, given | data))
    else:
        data = {"demonstrations": [world.tasks if arm.name == "tasks" else world.demonstrations]}
        sft.run(settle("sft", SftSettings, given | data))
    return _examined(place, arm.name)


def _ppo(arm: Arm, place: Place) -> Result:
    world = place.world()
    reward = comparisons.model_after(place.of(arm.needs[1]), min(REWARD_EPOCH, _epochs(arm.needs[1], place)))
    trained = reinforcement.train(arm, world, place.policy("start"), reward, place.policy(arm.name), place.seed)
    examined = _examined(place, arm.name)
    return {**examined, "figures": examined["figures"] | trained.figures, "series": trained.series}


def _comparisons(arm: Arm, place: Place) -> Result:
    world = place.world()
    policies = {name: load_policy(place.policy(name)) for name in ("base", *arm.needs)}
    share = 0.5 if arm.name == FIRST else 1.0
    made = comparisons.make(world, Examiner(world, SHIPPED), policies, place.of(arm.name), place.seed, share)
    return {"figures": made}


def _reward(arm: Arm, place: Place) -> Result:
    ranked, output = place.of(arm.needs[0]), place.of(arm.name)
    epochs, pairs = _epochs(arm.name, place), arm.name == "reward-pairs"
    return comparisons.train(ranked, place.policy("sft"), output, place.seed, epochs, pairs=pairs)


def _epochs(reward: str, place: Place) -> int:
    """Passes of a reward arm; the first round has one."""
    return 1 if FIRST in BY_NAME[reward].needs else place.sizes.epochs


def _fold(arm: Arm, place: Place) -> Result:
    ranked, number = place.of("comparisons"), int(arm.name.rsplit("-", 1)[1])
    return {"figures": comparisons.fold(ranked, place.policy("sft"), place.of(arm.name), place.seed, number)}


def _examined(place: Place, policy: str, *, few_shot: bool = False) -> Result:
    measured = Examiner(place.world(), SHIPPED).examine(place.policy(policy), few_shot=few_shot)
    return {"figures": measured.figures, "prompts": measured.prompts}


_RUNNERS: Mapping[str, Callable[[Arm, Place], Result]] = {
    "base": _examine,
    "few-shot": _examine,
    "fine-tune": _fine_tune,
    "comparisons": _comparisons,
    "reward": _reward,
    "fold": _fold,
    "ppo": _ppo,
}
