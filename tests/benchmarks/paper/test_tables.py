"""Tables are whole Markdown and hold the figures in their formats."""

import pytest

from benchmarks.paper import published
from benchmarks.paper.page import TABLES
from benchmarks.paper.summary import Estimate, Results
from benchmarks.paper.tables import ABLATED, NOTHING, ablations, printed, show, table


def test_formats() -> None:
    found = Estimate(0.712, 0.68, 0.744, (0.7, 0.72))
    assert show(found, scale=100, digits=1, unit=" %") == "71.2 % (68.0 to 74.4)"
    assert show(Estimate(0.5, float("nan"), float("nan"), (0.5,))) == "0.50"
    assert show(None) == NOTHING == printed(())
    assert printed(published.HALLUCINATION) == "GPT-3 41 % (1), InstructGPT 21 % (1)"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_as_long_as_their_heads_and_nothing_is_missing(made_up_results: Results, name: str) -> None:
    text = TABLES[name](made_up_results)
    cells = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    heads = [index for index, line in enumerate(text.splitlines()) if line.startswith("| ---")]
    assert len(cells) > 2 * len(heads) > 0
    assert "nan" not in text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert all(len({line.count("|") for line in block}) == 1 for block in blocks)


def test_ablations_are_of_all_runs_and_the_last_weights_are_no_run(made_up_results: Results) -> None:
    lines = ablations(made_up_results).splitlines()[2:]
    assert [line.split(" | ")[0].strip("| ") for line in lines] == list(ABLATED.values())
    (raw,) = [line for line in lines if "without EMA" in line]
    (ptx,) = [line for line in lines if line.startswith("| PPO-ptx")]
    assert raw.split(" | ")[1:5] == ptx.split(" | ")[1:5]
    assert raw.endswith(f"| {NOTHING} | {NOTHING} |")


def test_missing_arms_leave_dashes() -> None:
    empty = Results((), {}, {}, {}, {})
    assert NOTHING in ablations(empty)
    assert all(make(empty) for make in TABLES.values())
