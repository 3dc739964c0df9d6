"""What labelers send: strict types and bounds, a default for everything that is not the answer itself."""

import json
from typing import Any

import pytest

from serve.asking.schemas import decode, described
from serve.asking.schemas_answers import DraftIn, ReviseIn, SubmitIn, WriteIn
from serve.errors import InvalidRequest

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
LEAST: dict[str, Any] = {"token": 1, "submission_id": ID, "ranking": [[1], [0]]}


def test_the_least_that_is_an_answer_has_defaults_for_the_rest() -> None:
    given = decode(json.dumps(LEAST).encode(), SubmitIn)
    assert (given.outcome, given.spans, given.read_s, given.input, given.proposal) == ("ranked", [], [], "", "")
    assert (given.guideline_version, given.flag_set_version) == ("", "")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"outcome": "fine"}, "outcome"),
        ({"input": "voice"}, "input"),
        ({"proposal": "ignored"}, "proposal"),
        ({"read_s": [1] * 10}, "read_s"),
        ({"read_s": [-1]}, "read_s[0]"),
        ({"spans": [{"completion": 9, "start": 0, "end": 1}]}, "spans[0].completion"),
        ({"spans": [{"completion": 0, "start": -1, "end": 1}]}, "spans[0].start"),
        ({"spans": [{"completion": 0, "start": 0, "end": 0}]}, "spans[0].end"),
        ({"spans": [{"completion": 0, "start": 0.5, "end": 1}]}, "spans[0].start"),
        ({"spans": [{"completion": 0, "start": 0, "end": 1, "text": "x"}]}, "spans[0].text"),
        ({"spans": [{"completion": 0, "start": 0, "end": 1}] * 101}, "spans"),
        ({"guideline_version": "x" * 65}, "guideline_version"),
        ({"purpose": "gold"}, "purpose"),
        ({"revision": 1}, "revision"),
        ({"picked": "oldest"}, "picked"),
        ({"display_order": [0, 1]}, "display_order"),
        ({"total_s": 1.0}, "total_s"),
    ],
)
def test_what_is_not_the_clients_to_say_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(json.dumps(LEAST | changes).encode(), SubmitIn)
    assert refused.value.param == param


def test_a_correction_needs_no_lease() -> None:
    body = {name: value for name, value in LEAST.items() if name != "token"}
    assert decode(json.dumps(body).encode(), ReviseIn).ranking == [[1], [0]]
    with pytest.raises(InvalidRequest):
        decode(json.dumps(LEAST).encode(), ReviseIn)


@pytest.mark.parametrize("draft", [[], "x", 1, None])
def test_a_draft_is_an_object(draft: object) -> None:
    with pytest.raises(InvalidRequest):
        decode(json.dumps({"token": 1, "draft": draft}).encode(), DraftIn)


def test_the_answer_that_none_is_may_say_what_it_was_begun_from() -> None:
    body = {"token": 1, "submission_id": ID, "response": "Mine."}
    assert decode(json.dumps(body).encode(), WriteIn).based_on is None
    with pytest.raises(InvalidRequest):
        decode(json.dumps(body | {"based_on": 9}).encode(), WriteIn)


def test_what_is_described_refers_to_nothing_outside() -> None:
    text = json.dumps(described(SubmitIn))
    assert "$ref" not in text
    assert "1000000" in text, "the bounds of a span are spelled out"
