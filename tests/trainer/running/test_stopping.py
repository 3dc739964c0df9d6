"""SIGTERM waits for a step that is under way, and not for ever."""

import os
import signal
import threading
import time

import pytest

from trainer.running.stopping import EXIT_STOPPED, Stop


def test_between_steps_the_process_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, Stop():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == EXIT_STOPPED == 143
    assert "the same command goes on" in capsys.readouterr().err


def test_a_step_is_finished_first() -> None:
    with Stop() as stop, stop.after_steps():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        with pytest.raises(SystemExit):
            stop.now("at step 3")


def test_a_step_that_takes_too_long_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    def endless_step() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(30)

    began_s = time.monotonic()
    with pytest.raises(SystemExit) as ended, Stop(grace_s=0.05) as stop, stop.after_steps():
        endless_step()
    assert ended.value.code == EXIT_STOPPED
    assert time.monotonic() - began_s < 10
    assert "took longer than 0.05 s" in capsys.readouterr().err


def test_handlers_and_alarm_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stop(grace_s=0.05) as stop, stop.after_steps():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_threads_do_not_listen() -> None:
    seen: list[object] = []

    def listen() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with Stop():
            seen.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [True]
