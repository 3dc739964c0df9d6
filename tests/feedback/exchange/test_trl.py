"""TRL's rows: what its trainers read, pair by pair, grouped by prompt, with a margin."""

from typing import Any

import pytest

from feedback.errors import InvalidRow
from feedback.exchange import trl
from tests.feedback.exchange.test_formats import ITEM

TURN = {"role": "user", "content": "Name a fruit."}


def side(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_one_row_per_strict_pair_and_the_margin_counts_tie_groups() -> None:
    rows = list(trl.write(ITEM))
    assert [(row["chosen"], row["rejected"], row["margin"]) for row in rows if row["annotator"] == "ann"] == [
        ("Plum", "A stone.", 1.0),
        ("Plum", "", 2.0),
        ("A pear.", "A stone.", 1.0),
        ("A pear.", "", 2.0),
        ("A stone.", "", 1.0),
    ]
    assert {row["comparison_id"] for row in rows} == {"cmp_1"}
    assert rows[0]["prompt"].startswith("system: Be brief.\n\nuser: Name a fruit.")


def test_a_conversational_row_has_messages_on_both_sides() -> None:
    row = next(trl.write_conversational(ITEM))
    assert row["chosen"] == [side("Plum")]
    assert row["rejected"] == [side("A stone.")]
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Name a fruit.", "chosen": "A pear.", "rejected": "A stone."},
        {"prompt": [TURN], "chosen": [side("A pear.")], "rejected": [side("A stone.")]},
        {"chosen": [TURN, side("A pear.")], "rejected": [TURN, side("A stone.")]},
    ],
)
def test_standard_conversational_and_implicit_prompts_are_read_alike(row: dict[str, Any]) -> None:
    [item] = trl.read(row)
    assert [turn.content for turn in item.messages] == ["Name a fruit."]
    assert [each.text for each in item.answers] == ["A pear.", "A stone."]
    assert item.said[0].ranking == [[0], [1]]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "p", "chosen": "a"}, "`rejected` is no text"),
        ({"chosen": "a", "rejected": "b"}, "no prompt"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "empty"),
        ({"chosen": [side("a")], "rejected": [side("b")]}, "no prompt"),
        ({"chosen": [TURN, side("a"), TURN], "rejected": [TURN, side("b")]}, "one turn of the assistant"),
        ({"prompt": [TURN], "chosen": [TURN], "rejected": [side("b")]}, "one turn of the assistant"),
        ({"prompt": "p", "chosen": ["a"], "rejected": ["b"]}, "role"),
        ({"prompt": "p", "chosen": None, "rejected": None}, "no text"),
    ],
)
def test_every_defect_is_named(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        list(trl.read(row))
