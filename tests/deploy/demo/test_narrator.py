"""The narrator: lines with a clock, and no flood where there is no terminal."""

import io
import re

from rich.console import Console

from deploy.demo.narrator import Narrator


def make_narrator() -> tuple[Narrator, io.StringIO]:
    out = io.StringIO()
    return Narrator(Console(file=out, width=100)), out


def test_a_line_begins_with_the_time_and_brackets_are_text() -> None:
    narrator, out = make_narrator()
    with narrator:
        narrator.say("loaded [policy-0001] in [red]1 s")
    assert re.fullmatch(r" 0:\d\d  loaded \[policy-0001\] in \[red\]1 s\n", out.getvalue())


def test_progress_outside_a_terminal_is_told_now_and_then_only() -> None:
    narrator, out = make_narrator()
    narrator._said_s = -1e9
    with narrator:
        for number in range(50):
            narrator.progress("labelers rank", str(number))
    assert out.getvalue().count("\n") == 1
    assert "labelers rank: 0" in out.getvalue()
