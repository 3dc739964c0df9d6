"""Places in a run at which it can be killed, put there from outside: product code has no hooks.

A *site* is a function of the product, or one that it calls, that is wrapped in the child process before the stage
begins. At a chosen visit the child sends SIGKILL to itself: before the call, after it, or with half of its work done.
Knows names of functions; does not know what a benchmark makes of a kill.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Half = Callable[..., None]
"""Given the real function and its arguments, does half of the work."""


@dataclass(frozen=True)
class Site:
    """A function that a run may die in.

    Attributes:
        name: ``module:attribute``, the attribute dotted for methods.
        kind: what a person calls the place; a row of the report.
        half: does half of the call's work; None where there is no half.
    """

    name: str
    kind: str
    half: Half | None = None

    @property
    def moments(self) -> tuple[str, ...]:
        """When, around a visit, the process may die."""
        return ("before", "half", "after") if self.half else ("before", "after")


@dataclass(frozen=True)
class Death:
    """The ``visit``-th call (from 1) of a site, and the moment around it."""

    site: str
    visit: int
    moment: str


def _half_write(_real: Any, file: Any, data: bytes) -> None:
    """Leave a file torn in the middle of its bytes."""
    file._file.write(bytes(data)[: len(data) // 2])
    file._file.flush()


def _half_text(real: Any, path: Path, text: str, *_: Any, **__: Any) -> None:
    real(path, text[: len(text) // 2])


def _half_removal(_real: Any, path: Any, *_: Any, **__: Any) -> None:
    """Remove every other file of a tree."""
    for file in [each for each in sorted(Path(path).rglob("*")) if each.is_file()][::2]:
        file.unlink()


def _half_line(real: Any, log: Any, step: int, metrics: Any) -> None:
    """Leave the log with a line that has no end."""
    real(log, step, metrics)
    log._file.flush()
    os.truncate(log._file.name, Path(log._file.name).stat().st_size - 7)


def _half_model(real: Any, model: Any, path: str, *_: Any, **__: Any) -> None:
    """Leave a weights file cut in the middle."""
    real(model, path)
    os.truncate(path, Path(path).stat().st_size // 2)


_BYTES, _DISK, _PUBLISH = "in a file of a checkpoint", "around a rename, fsync or removal", "while publishing"
SITES = [
    Site("trainer.running.checkpoint:_Hashed.write", _BYTES, _half_write),
    Site("trainer.running.run:save_checkpoint", "around a checkpoint"),
    Site("feedback.artifacts:write_manifest", _BYTES),
    Site("pathlib:Path.write_text", "in a small file", _half_text),
    Site("os:fsync", _DISK),
    Site("pathlib:Path.rename", _DISK),
    Site("pathlib:Path.replace", _DISK),
    Site("shutil:rmtree", _DISK, _half_removal),
    Site("trainer.running.trackers:JsonLines.log", "in a line of the log", _half_line),
    Site("torch.optim:AdamW.step", "around an optimizer's step"),
    Site("trainer.ppo.step:_accumulate_ppo", "between PPO's and ptx's backward"),
    Site("trainer.ppo.step:accumulate_ptx", "between PPO's and ptx's backward"),
    Site("trainer.rollouts.transformers_sampler:TransformersSampler.push", "around a weight push"),
    Site("trainer.rollouts.transformers_sampler:draw", "while sampling"),
    Site("trainer.stages.selection:Selection.consider", "while an epoch is chosen"),
    Site("trainer.stages.selection:Selection.take_best", "while an epoch is chosen"),
    Site("trainer.stages.selection:save_model", "while an epoch is chosen", _half_model),
    Site("trainer.stages.reward:centre", "around a reward model's zero point"),
    Site("trainer.models.scalar:ScalarModel.save", _PUBLISH),
    Site("trainer.ppo.job:save_policy", _PUBLISH),
    Site("trainer.stages.sft:save_policy", _PUBLISH),
    Site("trainer.stages.pretrain:save_policy", _PUBLISH),
    Site("trainer.running.workspace:seal", _PUBLISH),
    Site("trainer.running.workspace:conclude", _PUBLISH),
]
VLLM_SITES = [
    Site(
        "trainer.rollouts.weight_transfer:save_file", "in a push to vLLM", lambda real, tensors, path, **_: _torn(path)
    ),
    Site("trainer.rollouts.vllm_sampler:VllmSampler.push", "in a push to vLLM"),
    Site("trainer.rollouts.vllm_sampler:VllmSampler.sample", "around sampling with vLLM"),
]


def _torn(path: Any) -> None:
    Path(path).write_bytes(b"torn")


class Reaper:
    """Wraps sites in this process, counts their visits, and dies at the chosen one."""

    def __init__(self, sites: Iterable[Site], death: Death | None = None) -> None:
        """Wrap every site; without ``death`` the visits are only counted."""
        self.visits: Counter[str] = Counter()
        self._death = death
        for site in sites:
            owner, name, real = locate(site.name)
            setattr(owner, name, self._wrapped(site, real))

    def _wrapped(self, site: Site, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(*arguments: Any, **options: Any) -> Any:
            self.visits[site.name] += 1
            death = self._death
            dies = death is not None and (death.site, death.visit) == (site.name, self.visits[site.name])
            if dies and death is not None and death.moment != "after":
                if death.moment == "half" and site.half is not None:
                    site.half(real, *arguments, **options)
                die()
            result = real(*arguments, **options)
            if dies:
                die()
            return result

        return call


def die() -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def locate(name: str) -> tuple[Any, str, Callable[..., Any]]:
    """Return what holds a function, the name that it has there, and the function itself."""
    module, _, dotted = name.partition(":")
    owner: Any = importlib.import_module(module)
    *path, last = dotted.split(".")
    for part in path:
        owner = getattr(owner, part)
    return owner, last, getattr(owner, last)
