"""Our own rows: the published schema is read as it is, and every defect has its sentence."""

from typing import Any

import pytest

from feedback.errors import InvalidRow
from feedback.exchange import plain
from feedback.exchange.items import Said
from tests.feedback.exchange.test_formats import ITEM

ROW: dict[str, Any] = {
    "id": "r1",
    "prompt": "Name a fruit.",
    "responses": [{"text": "A pear."}, {"text": "A stone.", "model": "m2"}],
    "comparisons": [{"a": 0, "b": 1, "winner": "a", "annotator": None}],
    "meta": {"anything": 1},
}


def test_the_published_schema_is_read() -> None:
    [item] = plain.read(ROW)
    assert [turn.content for turn in item.messages] == ["Name a fruit."]
    assert [(each.text, each.model, each.finished) for each in item.answers] == [
        ("A pear.", "", True),
        ("A stone.", "m2", True),
    ]
    assert item.said == [Said(annotator="unknown", ranking=[[0], [1]])]


def test_ranks_stand_in_for_comparisons() -> None:
    ranked = [{"text": text, "rank": rank} for text, rank in (("x", 1), ("y", 0), ("z", 1))]
    [item] = plain.read({"prompt": "p", "responses": ranked})
    assert item.said[0].ranking == [[1], [0, 2]]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"responses": None}, "`responses`"),
        ({"responses": [{"text": "one"}]}, "`responses`"),
        ({"responses": ["a", "b"]}, "a response is no object"),
        ({"responses": [{"text": None}, {"text": "b"}]}, "a response is no text"),
        ({"responses": [{"text": "a", "finished": 1}, {"text": "b"}]}, "`finished`"),
        ({"responses": [{"text": "a", "model": []}, {"text": "b"}]}, "`model`"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "no prompt"),
        ({"comparisons": {}}, "`comparisons` is no list"),
        ({"comparisons": ["x"]}, "a comparison is no object"),
        ({"comparisons": [{"a": 0, "b": 2, "winner": "a"}]}, "names response 2 of 2"),
        ({"comparisons": [{"a": -1, "b": 1, "winner": "a"}]}, "names response -1"),
        ({"comparisons": [{"a": True, "b": 1, "winner": "a"}]}, "names response True"),
        ({"comparisons": [{"a": "0", "b": 1, "winner": "a"}]}, "names response '0'"),
        ({"comparisons": [{"a": 1, "b": 1, "winner": "a"}]}, "with itself"),
        ({"comparisons": [{"a": 0, "b": 1, "winner": None}]}, "`winner`"),
        ({"comparisons": [{"a": 0, "b": 1, "winner": "a", "annotator": {}}]}, "annotator"),
        ({"comparisons": None}, "`rank`"),
        ({"split": "dev"}, "`split`"),
        ({"id": []}, "`id`"),
    ],
)
def test_every_defect_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        list(plain.read({**ROW, **changes}))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ranking": [[0], [0]]}, "at most once"),
        ({"ranking": [[0], []]}, "at least two"),
        ({"ranking": [[0]]}, "at least two"),
        ({"ranking": [[0], [2]]}, r"0\.\.1"),
        ({"ranking": "0>1"}, "tie groups"),
        ({"ranking": [[0], [1.5]]}, "tie groups"),
        ({"quality": [8, 1]}, "1 to 7"),
        ({"quality": [5]}, "2 numbers"),
        ({"quality": "5"}, "whole numbers"),
        ({"outcome": "meh"}, "`outcome`"),
        ({"flags": {"rude": [2]}}, "not among 2"),
        ({"flags": ["rude"]}, "`flags`"),
        ({"note": 7}, "note is no text"),
        ({"responses": [{"text": str(n)} for n in range(10)]}, "at most 9"),
    ],
)
def test_every_defect_of_a_ranking_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        list(plain.read_rankings({**ROW, "ranking": [[0], [1]], **changes}))


def test_scores_are_written_one_by_one() -> None:
    rows = list(plain.write_scores(ITEM))
    assert [(row["completion"], row["score"], row["annotator"]) for row in rows] == [
        ("A pear.", 7, "ann"),
        ("A stone.", 3, "ann"),
        ("", 1, "ann"),
        ("Plum", 7, "ann"),
    ]
