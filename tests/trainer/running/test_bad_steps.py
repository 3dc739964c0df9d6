"""When skipped steps are too many, and what is written about them."""

import json
from pathlib import Path

import pytest

from feedback.errors import Diverged
from trainer.running.bad_steps import BadSteps


def lines(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "bad-batches.jsonl").read_text().splitlines()]


def test_three_in_a_row_are_too_many_and_two_are_not(tmp_path: Path) -> None:
    bad = BadSteps(tmp_path)
    for step in (4, 5):
        bad.bad(step, "loss is nan", ["a", "b"])
    assert (bad.verdict, bad.last_was_good) == ("", False)
    bad.good()
    assert bad.last_was_good
    for step in (7, 8, 9):
        bad.bad(step, "loss is nan", ["c"])
    assert bad.verdict.startswith("3 steps in a row")
    assert lines(tmp_path)[0] == {"attempt": 0, "step": 4, "reason": "loss is nan", "rows": ["a", "b"]}
    assert [line["step"] for line in lines(tmp_path)] == [4, 5, 7, 8, 9]


def test_more_than_one_percent_is_too_many_once_a_hundred_steps_were_seen() -> None:
    bad = BadSteps(None)
    for step in range(99):
        if step in (10, 50):
            bad.bad(step, "loss is inf", [])
        else:
            bad.good()
    assert bad.verdict == ""
    bad.good()
    assert bad.verdict.startswith("2 of 100 steps")
    one = BadSteps(None)
    one.bad(0, "loss is inf", [])
    for _ in range(300):
        one.good()
    assert one.verdict == ""


def test_counts_survive_a_restart_and_the_learning_rate_is_halved_once(tmp_path: Path) -> None:
    bad = BadSteps(tmp_path)
    bad.good()
    bad.bad(1, "x", [])
    copy = BadSteps(tmp_path)
    copy.load_state_dict(json.loads(json.dumps(bad.state_dict())))
    assert copy.state_dict() == bad.state_dict()
    assert copy.lr_scale == 1.0
    copy.go_back(bad.state_dict())
    assert (copy.attempt, copy.lr_scale, copy.last_was_good) == (1, 0.5, True)


def test_lines_of_steps_that_are_done_again_are_dropped_and_those_of_the_first_attempt_kept(tmp_path: Path) -> None:
    bad = BadSteps(tmp_path)
    bad.bad(3, "first attempt", [])
    bad.bad(9, "first attempt", [])
    bad.go_back(BadSteps(None).state_dict())
    bad.bad(3, "second attempt", [])
    bad.bad(8, "second attempt", [])
    torn = (tmp_path / "bad-batches.jsonl").read_text() + '{"attempt": 1, "st'
    (tmp_path / "bad-batches.jsonl").write_text(torn)
    bad.forget_after(5)
    assert [(line["attempt"], line["step"]) for line in lines(tmp_path)] == [(0, 3), (0, 9), (1, 3)]
    again = BadSteps(tmp_path)
    again.forget_after(3)
    assert lines(tmp_path) == []


def test_a_run_that_took_no_step_is_not_done() -> None:
    bad = BadSteps(None)
    bad.require_one_good()
    bad.bad(0, "loss is nan", [])
    with pytest.raises(Diverged, match=r"not one of 1 steps .*loss is nan"):
        bad.require_one_good()
    bad.good()
    bad.require_one_good()


def test_it_knows_when_the_row_of_skipped_steps_began() -> None:
    bad = BadSteps(None)
    for step in (2, 3):
        bad.bad(step, "x", [])
    assert bad.since == 2
    bad.good()
    bad.bad(7, "x", [])
    assert bad.since == 7
