"""A site is a real function, and a death comes at exactly the visit and moment that were chosen."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from benchmarks import killable
from benchmarks.killable import SITES, VLLM_SITES, Death, Reaper, Site, locate


class Worker:
    """Does one thing."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def work(self, name: str) -> None:
        self.done.append(name)


def half(_real: Any, worker: Worker, name: str) -> None:
    worker.done.append(name[: len(name) // 2])


WORK = Site(f"{__name__}:Worker.work", "working", half)


class Killed(BaseException):
    """Stands for the signal."""


@pytest.fixture
def mortal_worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(Worker, "work", Worker.work)  # so that it is put back

    def dies() -> None:
        raise Killed

    monkeypatch.setattr(killable, "die", dies)
    return Worker()


@pytest.mark.parametrize(("moment", "left"), [("before", ["one"]), ("half", ["one", "tw"]), ("after", ["one", "twoo"])])
def test_death_comes_at_its_visit_and_moment(mortal_worker: Worker, moment: str, left: list[str]) -> None:
    reaper = Reaper([WORK], Death(WORK.name, 2, moment))
    mortal_worker.work("one")
    with pytest.raises(Killed):
        mortal_worker.work("twoo")
    assert mortal_worker.done == left
    assert reaper.visits[WORK.name] == 2


def test_without_a_death_visits_are_counted_and_work_is_done(mortal_worker: Worker) -> None:
    reaper = Reaper([WORK])
    for name in "abc":
        mortal_worker.work(name)
    assert (mortal_worker.done, reaper.visits[WORK.name]) == (["a", "b", "c"], 3)


def test_every_site_names_a_function_of_the_product() -> None:
    for site in [*SITES, *VLLM_SITES]:
        _, _, found = locate(site.name)
        assert callable(found), site.name


def test_the_signal_is_the_one_that_cannot_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    killable.die()
    assert sent == [(os.getpid(), signal.SIGKILL)]


def test_halves_are_halves(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).write_text("x")
    killable._half_removal(None, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "d"]
    killable._half_text(Path.write_text, tmp_path / "b", "0123")
    assert (tmp_path / "b").read_text() == "01"
