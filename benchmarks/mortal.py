"""A run in a child process that is killed once and started again, and whether its end shows it.

The parent has imported everything and holds no thread, so a child is a fork that begins within milliseconds. Knows
processes, signals and what is compared; does not know which deaths are chosen.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.killable import Death, Reaper, Site
from benchmarks.tiny_runs import Scenario, checkpoint_digests, result_digests
from feedback import artifacts
from feedback.errors import RunFinished

CHILD_S = 300.0
"""Longest that a child may take."""
ORPHANS_S = 30.0
_BEGUN, _CHECKPOINT, _VISITS = "begun", "checkpoint.json", "visits.json"


@dataclass
class Outcome:
    """What became of one run.

    Attributes:
        kind: place of the death, for people.
        scenario: name of the run.
        where: the death, or the second it came after.
        died: the first process was ended by SIGKILL.
        finished: the run was finished in the end, by an exit without error.
        differences: names of files and of the last checkpoint's parts that are not those of an uninterrupted run.
        redone_steps: steps begun again because of the death.
        restart_s: from the second start to its first step; None if none was left.
        orphans_s: how long processes that the killed one had started lived on.
        log: end of what a run said that did not finish.
    """

    kind: str
    scenario: str
    where: str
    died: bool = False
    finished: bool = False
    differences: list[str] = field(default_factory=list)
    redone_steps: int = 0
    restart_s: float | None = None
    orphans_s: float = 0.0
    log: str = ""

    @property
    def equal(self) -> bool:
        """Whether it ended as if nothing had happened."""
        return self.finished and not self.differences


@dataclass(frozen=True)
class Baseline:
    """An uninterrupted run: its digests, how often each site was visited, its steps, and how long it took."""

    digests: dict[str, str]
    visits: dict[str, int]
    steps: int
    seconds: float


def uninterrupted(scenario: Scenario, sites: Iterable[Site], directory: Path) -> Baseline:
    """Do the run once, counting.

    Raises:
        RuntimeError: it failed.
    """
    shutil.rmtree(directory, ignore_errors=True)
    began_s = time.monotonic()
    code = wait(start(scenario, sites, directory, None))
    seconds = time.monotonic() - began_s
    if code != 0:
        raise RuntimeError(f"{scenario.name} failed by itself:\n{_log(directory)}")
    steps = len((directory / _BEGUN).read_text().splitlines())
    return Baseline(digests(directory), json.loads((directory / _VISITS).read_text()), steps, seconds)


def killed_once(
    scenario: Scenario,
    sites: Iterable[Site],
    directory: Path,
    baseline: Baseline,
    kind: str,
    death: Death | float,
    break_it: Callable[[], None] | None = None,
) -> Outcome:
    """Do the run, kill it, start it again, and compare its end with an uninterrupted one.

    Args:
        scenario: the run.
        sites: that are wrapped.
        directory: of this run alone, emptied first.
        baseline: what it must equal.
        kind: for the report.
        death: where to die, or seconds after which the parent kills.
        break_it: called in both processes before the stage, to show that the comparison can fail.
    """
    where = f"{death:.2f} s" if isinstance(death, float) else f"{death.moment} {death.site} #{death.visit}"
    found = Outcome(kind, scenario.name, where)
    shutil.rmtree(directory, ignore_errors=True)
    if isinstance(death, float):
        first = start(scenario, sites, directory, None, break_it)
        time.sleep(death)
        with suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
    else:
        first = start(scenario, sites, directory, death, break_it)
    found.died = wait(first) == -signal.SIGKILL
    found.orphans_s = bury(first)
    began_s = time.monotonic()
    found.finished = wait(start(scenario, sites, directory, None, break_it)) == 0
    begun = [float(line.split()[0]) for line in (directory / _BEGUN).read_text().splitlines()]
    after = [at_s for at_s in begun if at_s > began_s]
    found.restart_s = after[0] - began_s if after else None
    found.redone_steps = len(begun) - baseline.steps
    if found.finished:
        found.differences = differences(baseline.digests, digests(directory))
    else:
        found.log = _log(directory)
    return found


def digests(directory: Path) -> dict[str, str]:
    """Digests of a finished run's files and of its last checkpoint; its manifest was compared with its files."""
    artifacts.verify(directory / "out")
    checkpoint: dict[str, str] = json.loads((directory / _CHECKPOINT).read_text())
    return result_digests(directory / "out") | checkpoint


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Names that only one has, or that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def start(
    scenario: Scenario,
    sites: Iterable[Site],
    directory: Path,
    death: Death | None,
    break_it: Callable[[], None] | None = None,
) -> int:
    """Fork a child that does the run in ``directory``; return its process id."""
    directory.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:  # nothing of the parent may run in the child: it ends with _exit
        os.setsid()
        os.chdir(directory)
        log = os.open("log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        _watch_steps()
        if break_it is not None:
            break_it()
        reaper = Reaper(sites, death)
        with suppress(RunFinished):
            scenario.run()
        with Path(_VISITS).open("w") as file:
            json.dump(reaper.visits, file)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid: int) -> int:
    """Wait for a child; return its exit code, negative for a signal, after which nothing of it is left."""
    until = time.monotonic() + CHILD_S
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 124
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(status)


def bury(group: int) -> float:
    """Wait for what a dead child started and left; end it after ``ORPHANS_S``; return the seconds."""
    began_s = time.monotonic()
    while any(_group_of(stat) == group for stat in Path("/proc").glob("[0-9]*/stat")):
        if time.monotonic() - began_s > ORPHANS_S:
            os.killpg(group, signal.SIGKILL)
            break
        time.sleep(0.05)
    return round(time.monotonic() - began_s, 2)


def _group_of(stat: Path) -> int | None:
    """Return the process group of a process that still runs."""
    try:
        state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(group)


def _watch_steps() -> None:
    """Note every step's beginning in a file that outlives the process, and the last checkpoint before it is removed."""
    from trainer.ppo import ppo
    from trainer.running import workspace
    from trainer.running.layout import CHECKPOINTS, working_directory
    from trainer.running.loop import _Loop

    begun = os.open(_BEGUN, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def noted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            os.write(begun, f"{time.monotonic()} {os.getpid()}\n".encode())
            return real(*arguments, **options)

        return call

    ppo.iterate = noted(ppo.iterate)
    _Loop._step = noted(_Loop._step)  # type: ignore[method-assign]
    conclude = workspace.conclude

    def keeps_digests(output: Path) -> None:
        with Path(_CHECKPOINT + ".draft").open("w") as file:
            json.dump(checkpoint_digests(working_directory(output) / CHECKPOINTS), file)
        os.replace(_CHECKPOINT + ".draft", _CHECKPOINT)  # noqa: PTH105 - Path.replace is a site of what is measured
        conclude(output)

    workspace.conclude = keeps_digests


def _log(directory: Path) -> str:
    return (directory / "log").read_text(errors="replace")[-1500:]
