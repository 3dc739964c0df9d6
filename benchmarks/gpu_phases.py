"""What the phases of an iteration cost on a device: seconds, peak memory, tokens, and how busy the device was.

``Phases`` notes spans in the process that trains, either trainer's; ``Watch`` asks ``nvidia-smi`` beside it; ``table``
brings the two together. Knows clocks and counters; does not know what a phase computes.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

Made = TypeVar("Made")
MIB = 2**20
PHASES = ("push", "sample", "score", "learn")


@dataclass(frozen=True, slots=True)
class Span:
    """One phase of one iteration.

    Attributes:
        phase: its name.
        iteration: counted from 0.
        began_s: wall clock, seconds since 1970, so that another process can tell what it saw in between.
        s: seconds that it took, the device's work included.
        peak_mib: most device memory that PyTorch's allocator held in it; without a device, the process's peak so far.
    """

    phase: str
    iteration: int
    began_s: float
    s: float
    peak_mib: float


@dataclass
class Phases:
    """Notes every phase of a run.

    Attributes:
        iteration: the present one, from 0; who drives the run counts it up.
        spans: what was noted.
        steps: optimizer steps by optimizer.
    """

    iteration: int = 0
    spans: list[Span] = field(default_factory=list)
    steps: dict[int, int] = field(default_factory=dict)

    def timed(self, phase: str, work: Callable[..., Made]) -> Callable[..., Made]:
        """The same function, noted as a phase."""

        def run(*args: Any, **kwargs: Any) -> Made:
            with self.phase(phase):
                return work(*args, **kwargs)

        return run

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note what happens in here; waits for the device before and after."""
        ended = self.begin(name)
        yield
        ended()

    def begin(self, name: str) -> Callable[[], None]:
        """Begin a phase; the returned function ends it."""
        import torch

        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        wall_s, began_s, iteration = time.time(), time.perf_counter(), self.iteration

        def end() -> None:
            if cuda:
                torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated() / MIB if cuda else _peak_rss_mib()
            self.spans.append(Span(name, iteration, wall_s, time.perf_counter() - began_s, peak))

        return end

    def count_steps(self) -> None:
        """Count every step of every optimizer of this process from now on."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        def stepped(optimizer: object, args: object, kwargs: object) -> None:
            self.steps[id(optimizer)] = self.steps.get(id(optimizer), 0) + 1

        register_optimizer_step_post_hook(stepped)

    def write(self, path: Path, **more: Any) -> None:
        """Write everything noted, for ``table``."""
        found = {"spans": [asdict(span) for span in self.spans], "steps": sorted(self.steps.values()), **more}
        path.write_text(json.dumps(found))


class Watch:
    """Asks ``nvidia-smi`` four times a second; a context manager. Without that program it sees nothing.

    Attributes:
        seen: (time in seconds since 1970, utilisation in percent, memory in MiB) of the first device.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Watch:
        command = ["nvidia-smi", "-i", "0", "-lms", "250", "--format=csv,noheader,nounits"]
        with contextlib.suppress(FileNotFoundError):
            self._process = subprocess.Popen(
                [*command, "--query-gpu=utilization.gpu,memory.used"], stdout=subprocess.PIPE, text=True
            )
            threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if (row := parse(line)) is not None:
                self.seen.append((time.time(), *row))


def parse(line: str) -> tuple[float, float] | None:
    """Utilisation in percent and memory in MiB of one answer; None of anything else."""
    try:
        busy, used = line.split(",")
        return float(busy), float(used)
    except ValueError:
        return None


def table(
    spans: Sequence[Mapping[str, Any]],
    seen: Sequence[tuple[float, float, float]],
    tokens: Mapping[str, int],
    operations: Mapping[str, float],
    *,
    skip: int = 1,
) -> dict[str, dict[str, float | None]]:
    """Every phase's figures, means over iterations.

    Args:
        spans: ``Span`` as mappings; several of one phase and iteration are added up.
        seen: see ``Watch``.
        tokens: of one iteration, by phase.
        operations: floating-point operations of one iteration's matrix products, by phase.
        skip: first iterations left out; their kernels are chosen and memory is first allocated.

    Returns:
        By phase: ``s``, ``tokens_per_s`` and ``tflops_per_s`` (None where not known), ``peak_mib`` (the most),
        ``busy_percent`` and ``device_mib`` (mean and most that ``nvidia-smi`` saw meanwhile, all processes).
    """
    found: dict[str, dict[str, float | None]] = {}
    for phase in PHASES:
        mine = [span for span in spans if span["phase"] == phase and span["iteration"] >= skip]
        if not mine:
            continue
        within = [row for row in seen if any(span["began_s"] <= row[0] <= span["began_s"] + span["s"] for span in mine)]
        s = sum(span["s"] for span in mine) / len({span["iteration"] for span in mine})
        found[phase] = {
            "s": s,
            "tokens_per_s": tokens[phase] / s if phase in tokens else None,
            "tflops_per_s": operations[phase] / s / 1e12 if phase in operations else None,
            "peak_mib": max(span["peak_mib"] for span in mine),
            "busy_percent": fmean(row[1] for row in within) if within else None,
            "device_mib": max(row[2] for row in within) if within else None,
        }
    return found


def _peak_rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
