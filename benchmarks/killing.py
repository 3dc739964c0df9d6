"""A group of worker processes that is killed and started again, and what happens to waiting comparisons meanwhile.

Knows processes and how many comparisons wait; does not know what a benchmark makes of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common import ROOT
from feedback import comparisons
from feedback.client import Ledger

KILL_EVERY_S = 5.0
LOOK_S = 0.02
MOST_S = 540.0
"""Longest that the killing goes on."""


@dataclass
class Group:
    """The worker processes of one group, which are killed and started together."""

    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start parent and pool in a process group of their own."""
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers", "worker"],
                env=self.environment,
                cwd=ROOT,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End all of them with SIGKILL, and wait until the parent is gone."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Killing:
    """What was seen while a group was killed again and again."""

    seconds: float = 0.0
    kills: int = 0
    recoveries_s: list[float] = field(default_factory=list)
    """From each kill to the next comparison that got its completions."""
    left: int = 0
    """Comparisons still without completions at the end."""
    stalled_s: float = 0.0
    """Longest time without a stored completion."""


class Beat:
    """The real beat, while the block runs."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment, self._log = environment, log

    def __enter__(self) -> None:
        """Start it."""
        with self._log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers", "beat"], env=self._environment, cwd=ROOT, stdout=file, stderr=file
            )

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def wait(condition: Callable[[], bool], most_s: float) -> bool:
    """Look again and again until the condition holds; return whether it did within the time."""
    until = time.monotonic() + most_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_S)
    return True


def kill_until_done(ledger: Ledger, group: Group, stall_s: float = MOST_S, kills: int = 1_000_000) -> Killing:
    """Kill the group every `KILL_EVERY_S` and start it again, until nothing waits or nothing moves any more.

    Args:
        ledger: where comparisons wait.
        group: running.
        stall_s: seconds without a stored completion, and without a kill, after which nothing more is expected.
        kills: most of them.
    """
    seen, began = Killing(), time.monotonic()
    waiting, last = comparisons.being_sampled(ledger), began
    next_kill = began + KILL_EVERY_S
    open_kills: list[float] = []
    while waiting and time.monotonic() - began < MOST_S:
        now = time.monotonic()
        if (left := comparisons.being_sampled(ledger)) < waiting:
            seen.recoveries_s += [now - at for at in open_kills]
            seen.stalled_s = max(seen.stalled_s, now - last)
            open_kills, waiting, last = [], left, now
        if now >= next_kill and waiting and seen.kills < kills:
            group.kill()
            killed = time.monotonic()
            waiting = comparisons.being_sampled(ledger)  # what was stored before the kill is no recovery
            open_kills.append(killed)
            group.start()
            seen.kills, next_kill = seen.kills + 1, killed + KILL_EVERY_S
        if now - max(last, next_kill - KILL_EVERY_S) > stall_s:
            break
        time.sleep(LOOK_S)
    seen.left, seen.seconds = comparisons.being_sampled(ledger), time.monotonic() - began
    seen.stalled_s = max(seen.stalled_s, time.monotonic() - last)
    return seen
