"""Trackers: every step once, also after a resume; one that fails is left out and training goes on."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from trainer.running.trackers import JsonLines, TensorBoard, Trackers


def events(directory: Path) -> list[list[Event]]:
    """Return the events of each file, files in order: a record is length, checksum, bytes, checksum."""
    found = []
    for path in sorted((directory / "tensorboard").iterdir()):
        data, place, here = path.read_bytes(), 0, []
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            here.append(Event.FromString(data[place + 12 : place + 12 + length]))
            place += 16 + length
        found.append(here)
    return found


def shown(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the scalars that TensorBoard shows: a start purges what earlier files have from its step on."""
    kept: list[tuple[str, int, float]] = []
    for event in (event for file in events(directory) for event in file):
        if event.session_log.status == SessionLog.START:
            kept = [each for each in kept if each[1] < event.step]
        kept += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return {tag: [(step, value) for name, step, value in kept if name == tag] for tag, _, _ in kept}


def test_tensorboard_gets_every_step_once_also_after_a_resume(tmp_path: Path) -> None:
    killed = TensorBoard(tmp_path, 0)
    for step in (1, 2, 3):
        killed.log(step, {"loss": 1.0, "objective/kl": step / 4})
    killed.flush()  # and no close: killed, with a checkpoint at step 2
    resumed = TensorBoard(tmp_path, 2)
    for step in (3, 4):
        resumed.log(step, {"loss": 2.0, "objective/kl": step / 4})
    resumed.close()
    killed.close()
    assert len(events(tmp_path)) == 2
    assert shown(tmp_path) == {
        "loss": [(1, 1), (2, 1), (3, 2), (4, 2)],
        "objective/kl": [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1)],
    }


def test_a_run_that_goes_back_to_its_beginning_shows_its_second_try(tmp_path: Path) -> None:
    for attempt, steps in ((1.0, (1, 2, 3)), (2.0, (1, 2))):
        writer = TensorBoard(tmp_path, 0)
        for step in steps:
            writer.log(step, {"loss": attempt})
        writer.close()
    assert shown(tmp_path) == {"loss": [(1, 2), (2, 2)]}


def test_json_lines_lose_the_steps_that_come_again_and_a_torn_line(tmp_path: Path) -> None:
    first = JsonLines(tmp_path, 0)
    for step in (1, 2):
        first.log(step, {"loss": 0.0})
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    second = JsonLines(tmp_path, 1)
    second.log(2, {"loss": 1.0})
    second.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 0), (2, 1)]


class Broken:
    """Fails at its second step, as on a disk that is full."""

    calls = 0

    def __init__(self, directory: Path, start: int) -> None:
        pass

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        Broken.calls += 1
        if step == 2:
            raise OSError("No space left on device")

    def flush(self) -> None:
        raise AssertionError("a lost tracker is asked nothing more")

    close = flush


def test_a_tracker_that_fails_is_said_once_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broken, "calls", 0)
    said: list[str] = []
    trackers = Trackers(said.append)
    trackers.add(Broken, tmp_path, 0)
    trackers.add(JsonLines, tmp_path, 0)
    for step in (1, 2, 3, 4):
        trackers.log(step, {"loss": 1.0})
    trackers.flush()
    trackers.close()
    assert said == ["no more metrics for Broken: OSError: No space left on device"]
    assert Broken.calls == 2
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_tracker_that_cannot_begin_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file where the directory should be")
    said: list[str] = []
    trackers = Trackers(said.append)
    trackers.add(TensorBoard, tmp_path, 0)
    trackers.log(1, {"loss": 1.0})
    assert len(said) == 1
    assert said[0].startswith("no more metrics for TensorBoard: FileExistsError")
