"""Answers are refused while the ledger might lose them, and taken again once it does not."""

import threading

import pytest

from feedback import durability
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable, NotDurable
from serve.recording.durable import LOOK_S, Durable


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the ledger says is wrong with it; a test may change it."""
    faults: list[str] = []
    monkeypatch.setattr(durability, "faults", lambda ledger: list(faults))
    return faults


def test_a_ledger_that_keeps_its_word_takes_answers(ledger: Ledger) -> None:
    Durable(ledger, "refuse").demand()


def test_a_change_is_seen_after_a_while_both_ways(ledger: Ledger, found: list[str]) -> None:
    clock = Clock()
    durable = Durable(ledger, "refuse", clock)
    durable.demand()
    found.append("appendonly is no, not yes")
    clock.now = LOOK_S - 0.1
    durable.demand()
    clock.now = LOOK_S + 0.1
    with pytest.raises(NotDurable, match="appendonly is no"):
        durable.demand()
    found.clear()
    clock.now = 2 * LOOK_S + 0.2
    durable.demand()


def test_whoever_was_told_to_warn_takes_answers_and_says_so_once(
    ledger: Ledger, found: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    durable = Durable(ledger, "warn", clock)
    found.append("appendonly is no, not yes")
    for now in (0.0, 10.0, 20.0):
        clock.now = now
        durable.demand()
    assert capsys.readouterr().out.count("may lose acknowledged labels") == 1


def test_while_one_looks_at_a_ledger_that_hangs_the_others_do_not_wait_in_line(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, looking, go_on = Clock(), threading.Event(), threading.Event()
    durable = Durable(ledger, "refuse", clock)
    durable.demand()

    def hang(ledger: Ledger) -> list[str]:
        looking.set()
        assert go_on.wait(30)
        return []

    monkeypatch.setattr(durability, "faults", hang)
    clock.now = LOOK_S + 0.1
    first = threading.Thread(target=durable.demand)
    first.start()
    assert looking.wait(30)
    durable.demand()
    assert first.is_alive()
    go_on.set()
    first.join(30)


def test_a_ledger_that_does_not_tell_is_believed_and_the_log_says_so(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(durability, "faults", lambda ledger: None)
    Durable(ledger, "refuse").demand()
    assert "does not tell its settings" in capsys.readouterr().out


def test_a_process_that_begins_says_how_it_stands_and_begins_in_any_case(
    ledger: Ledger, found: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found.append("appendonly is no, not yes")
    Durable(ledger, "refuse").look()
    assert "appendonly is no, not yes" in capsys.readouterr().out


def test_a_ledger_that_is_away_does_not_keep_a_process_from_beginning() -> None:
    Durable(Ledger("redis://127.0.0.1:1/0", timeout_s=0.2), "refuse").look()


def test_a_ledger_that_is_away_is_unavailable() -> None:
    with pytest.raises(LedgerUnavailable):
        Durable(Ledger("redis://127.0.0.1:1/0", timeout_s=0.2), "refuse").demand()
