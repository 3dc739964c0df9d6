"""Runs one stage as a child process and follows its progress.

A crash or an out-of-memory kill costs the child and never the service, and its memory is really handed back. Knows
command lines, exit codes and ``progress.json``; does not know what a stage computes.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from feedback.errors import StageFailed
from trainer.running.layout import (
    LOCK_FILE,
    METRICS_FILE,
    PROGRESS_FILE,
    partial_directory,
    read_object,
    working_directory,
)

STOP_S = 8.0
"""Seconds that a child gets to end after SIGTERM; it takes up to six for its step (`trainer.running.stopping`)."""
_POLL_S = 0.2
_ASK_EVERY_S = 0.5
_PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>: the signal that a process gets when its parent dies."""


def run_stage(
    stage: str,
    options: Sequence[str],
    output: Path,
    *,
    preset: str,
    processes: int = 1,
    nice: int = 0,
    on_progress: Callable[[dict[str, Any]], None] = lambda progress: None,
    may_go_on: Callable[[], bool] = lambda: True,
) -> dict[str, Any]:
    """Run ``python -m trainer STAGE`` to the end and return its metrics; a finished output is not made again.

    Args:
        stage: command of `trainer.__main__`.
        options: its options, without ``--output`` and ``--preset``.
        output: directory that the stage makes, or file if it has a suffix (``generate``); a file has no metrics.
        preset: set of defaults.
        processes: how many processes work together.
        nice: niceness of the child.
        on_progress: called with the content of ``progress.json`` about twice a second.
        may_go_on: asked about twice a second; False ends the child.

    Raises:
        StageFailed: the child failed or was told to stop; the message ends with its last line.
    """
    finished = output if output.suffix else output / METRICS_FILE
    if finished.is_file():
        return read_object(finished)
    command = [*_interpreter(processes), stage, "--preset", preset, "--output", str(output), *options]
    _await_former_child(working_directory(output) / LOCK_FILE, may_go_on)
    if finished.is_file():
        return read_object(finished)
    log = output.with_name(output.name + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    own, began = os.getpid(), log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        child = subprocess.Popen(
            command, stdout=file, stderr=file, start_new_session=True, preexec_fn=lambda: _prepare_child(nice, own)
        )
        try:
            _follow(child, partial_directory(output) / PROGRESS_FILE, on_progress, may_go_on)
        finally:
            _end(child)
    if child.returncode != 0:
        raise StageFailed(f"{stage} ended with exit code {child.returncode}: {_reason(log, began)} (log: {log})")
    if not finished.is_file():
        raise StageFailed(f"{stage} ended well and left no {finished}")
    return read_object(finished)


def _await_former_child(lock: Path, may_go_on: Callable[[], bool]) -> None:
    """Wait until nobody is at work on this stage.

    Children of a trainer that died die with it; those of one that merely stood still for too long go on, and leave
    what we would make.

    Raises:
        StageFailed: `may_go_on` said no.
    """
    while lock.is_file():
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not may_go_on():
                    raise StageFailed("told to stop while a former trainer's child is at work") from None
                time.sleep(_ASK_EVERY_S)
            else:
                return


def _interpreter(processes: int) -> list[str]:
    if processes == 1:
        return [sys.executable, "-m", "trainer"]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *launcher, "-m", "trainer"]


def _prepare_child(nice: int, parent: int) -> None:
    """Lower the priority, and let the kernel end the child if the service is killed: nobody would wait for it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)
    if nice:
        os.nice(nice)


def _follow(
    child: subprocess.Popen[bytes],
    progress: Path,
    on_progress: Callable[[dict[str, Any]], None],
    may_go_on: Callable[[], bool],
) -> None:
    asked_s = time.monotonic()
    while child.poll() is None:
        time.sleep(_POLL_S)
        if time.monotonic() - asked_s < _ASK_EVERY_S:
            continue
        asked_s = time.monotonic()
        if progress.is_file():
            on_progress(read_object(progress))
        if not may_go_on():
            return


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _reason(log: Path, began: int) -> str:
    """Say why a child failed: its last error; of several processes, not that one misses another; else its last line."""
    lines = [line.strip() for line in log.read_bytes()[began:].decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error: ", "stopped: "))]
    causes = [line for line in errors if not line.startswith("error: PeerLost")]
    exits = [line for line in lines if line.startswith("exitcode ")]  # what torchrun says of a killed process
    return next((found[-1] for found in (causes, exits, errors, lines) if found), "it printed nothing")
