"""A trainer's process that works so many iterations at a time, when it is told to, and says what each turn cost.

Knows the protocol and the clocks; does not know either trainer. Told ``go 5`` on standard input, a process answers with
one line of JSON after five iterations. Between turns it waits, so that two trainers can be measured in alternation,
with imports, loading and the first allocation outside of what is measured.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Made = TypeVar("Made")


class Gate:
    """The worker's side: ``turn`` is called before each iteration, and clocks run in between.

    Args:
        episodes: in an iteration.
    """

    def __init__(self, episodes: int) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what the trainer prints is no answer
        self._episodes = episodes
        self._left = self._done = 0
        self._phases: defaultdict[str, float] = defaultdict(float)
        self._steps: Counter[int] = Counter()
        self._began = (0.0, 0.0)

    def turn(self) -> None:
        """Count an iteration that begins; at the end of a turn answer, and wait for the next."""
        if self._left == 0:
            if self._done:
                self._answer()
            self._left = self._done = int(sys.stdin.readline().split()[1])
            self._phases.clear()
            self._steps.clear()
            self._began = (time.process_time(), time.perf_counter())
        self._left -= 1

    def finish(self, **more: Any) -> None:
        """Answer the last turn; what follows, if anything, is another training."""
        self._answer(**more)
        self._left = self._done = 0

    def count_steps(self) -> None:
        """Count every step of every optimizer of this process from now on."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        def stepped(optimizer: object, args: object, kwargs: object) -> None:
            self._steps[id(optimizer)] += 1

        register_optimizer_step_post_hook(stepped)

    def timed(self, phase: str, work: Callable[..., Made]) -> Callable[..., Made]:
        """The same function, its processor time counted to a phase."""

        def run(*args: Any, **kwargs: Any) -> Made:
            with self.phase(phase):
                return work(*args, **kwargs)

        return run

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the processor time in here to a phase."""
        began = time.process_time()
        yield
        self.add(name, time.process_time() - began)

    def add(self, phase: str, cpu_s: float) -> None:
        """Count processor time to a phase."""
        self._phases[phase] += cpu_s

    def _answer(self, **more: Any) -> None:
        cpu_s, wall_s = time.process_time() - self._began[0], time.perf_counter() - self._began[1]
        turn = {
            "episodes": self._done * self._episodes,
            "cpu_s": cpu_s,
            "wall_s": wall_s,
            "phases_cpu_s": dict(self._phases),
            "steps_per_iteration": sorted(steps / self._done for steps in self._steps.values()),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        self._out.write(json.dumps(turn | more) + "\n")
        self._out.flush()


class Worker:
    """The other side: a process that takes turns; a context manager that ends it.

    Args:
        command: of the process.
        environment: beside this process's own.
        log: where its output goes.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                list(command),
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()  # waits, and closes both pipes

    def wait(self) -> None:
        """Wait until the process has written what it leaves behind, and ended.

        Raises:
            RuntimeError: it failed.
        """
        if self._process.wait():
            raise RuntimeError(f"a trainer failed:\n{self._log.read_text()[-3000:]}")

    def go(self, iterations: int) -> dict[str, Any]:
        """Have so many iterations done; return what they cost.

        Raises:
            RuntimeError: the process ended without an answer.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"go {iterations}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; why is in its log
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a trainer ended early:\n{self._log.read_text()[-3000:]}")
        return dict(json.loads(line))
