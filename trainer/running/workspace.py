"""Where a run works until its output appears: held by one process, swept after a kill, published by one rename.

``<output>.partial`` holds ``result`` (what becomes ``<output>``), ``checkpoints`` and a lock. The result is complete
once its manifest names its metrics, which are written last; from then on a start only finishes the publication, so a
kill between any two calls leaves a run that goes on, or an output that is whole. Knows directories; does not know
stages.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from feedback import artifacts
from feedback.errors import ArtifactError, RunFinished
from trainer.running.checkpoint import write_json
from trainer.running.identity import difference
from trainer.running.layout import (
    CHECKPOINTS,
    LOCK_FILE,
    METRICS_FILE,
    PROGRESS_FILE,
    RESULT,
    SETTINGS_FILE,
    partial_directory,
    read_object,
    working_directory,
)


@contextmanager
def owned(output: Path, identity: dict[str, Any]) -> Iterator[None]:
    """Hold the working directory of ``output`` for the run that ``identity`` describes.

    Raises:
        RunFinished: this very run has published its output, or had only that left to do, which is done now.
        ArtifactError: the output or the working directory is somebody else's, or another process is at work there.
    """
    work, result = working_directory(output), partial_directory(output)
    if _is_taken(output):
        _explain(output, identity)  # before the lock: a finished run leaves no trace beside its output
    work.mkdir(parents=True, exist_ok=True)
    with (work / LOCK_FILE).open("w") as lock:
        _hold(lock, work)
        if _is_taken(output):
            _explain(output, identity)
        _claim(work, result, identity)
        if _is_complete(result):
            conclude(output)
            raise _finished(output)
        _sweep(work, result)
        yield


def seal(output: Path, metrics: dict[str, Any]) -> None:
    """Write the metrics, the manifest and everything to disk; after this the result is complete."""
    result = partial_directory(output)
    (result / PROGRESS_FILE).unlink(missing_ok=True)  # of a process, not of the result
    write_json(result / METRICS_FILE, metrics)
    artifacts.write_manifest(result)
    for path in (*result.rglob("*"), result):
        artifacts.sync(path)


def conclude(output: Path) -> None:
    """Give a complete result its name, then remove what only an unfinished run needs."""
    result = partial_directory(output)
    result.rename(output)
    artifacts.sync(output.parent)
    shutil.rmtree(working_directory(output), ignore_errors=True)


def _is_taken(output: Path) -> bool:
    return output.exists() and (not output.is_dir() or any(output.iterdir()))


def _explain(output: Path, identity: dict[str, Any]) -> None:
    """Raise what is to be said about an output that exists."""
    if not difference(read_object(output / SETTINGS_FILE), identity):
        artifacts.verify(output)
        shutil.rmtree(working_directory(output), ignore_errors=True)
        raise _finished(output)
    raise ArtifactError(f"--output {output}: exists and is not empty; remove it or choose another directory")


def _finished(output: Path) -> RunFinished:
    return RunFinished(f"{output}: this run has finished; nothing was done", read_object(output / METRICS_FILE))


def _hold(lock: IO[str], work: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ArtifactError(f"{work}: another process is at work on this run; wait for it") from error
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _claim(work: Path, result: Path, identity: dict[str, Any]) -> None:
    """Write the run's identity, or check that what is there is this very run."""
    strangers = sorted({entry.name for entry in work.iterdir()} - {LOCK_FILE, RESULT, CHECKPOINTS})
    settings = result / SETTINGS_FILE
    if result.is_dir() and not settings.exists():
        strangers += sorted(entry.name for entry in result.iterdir() if not entry.name.startswith("."))
    if strangers:
        raise ArtifactError(f"{work}: holds {strangers[0]} and is no unfinished run; remove it")
    if not settings.exists():
        shutil.rmtree(work / CHECKPOINTS, ignore_errors=True)  # of nobody
        result.mkdir(exist_ok=True)
        write_json(settings, identity)
    elif other := difference(read_object(settings), identity):
        raise ArtifactError(
            f"{work}: an unfinished run with other {other}; start it again with those, or remove the directory"
        )


def _is_complete(result: Path) -> bool:
    listed = read_object(result / artifacts.MANIFEST).get("files", {})
    if METRICS_FILE not in listed:
        return False
    try:
        artifacts.verify(result)
    except ArtifactError:
        return False
    return True


def _sweep(work: Path, result: Path) -> None:
    """Remove what a killed process was in the middle of: hidden drafts, and metrics that no manifest followed."""
    (result / METRICS_FILE).unlink(missing_ok=True)
    for place in (result, work / CHECKPOINTS):
        for draft in place.glob(".*"):
            if draft.is_dir():
                shutil.rmtree(draft)
            else:
                draft.unlink()
