"""Bodies of the ledger's routes: strict, bounded, and refused in words that name the field."""

import json
import uuid
from typing import Any

import pytest

from serve.asking.schemas import FeedbackIn, PromoteIn, decode, described
from serve.asking.schemas_answers import SubmitIn
from serve.errors import InvalidRequest

SUBMISSION: dict[str, Any] = {"token": 1, "submission_id": str(uuid.UUID(int=7)), "ranking": [[0], [1, 2], [3]]}


def refusal(body: object, kind: type[Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode(json.dumps(body).encode(), kind)
    return caught.value


def test_a_complete_submission_is_taken_as_it_is() -> None:
    given = decode(json.dumps(SUBMISSION | {"quality": [7, 5, 5, 1], "flags": {"rude": [3]}}).encode(), SubmitIn)
    assert given.ranking == [[0], [1, 2], [3]]
    assert given.flags == {"rude": [3]}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"token": 0}, "token"),
        ({"token": "1"}, "token"),
        ({"token": True}, "token"),
        ({"submission_id": "no uuid"}, "submission_id"),
        ({"submission_id": str(uuid.UUID(int=7)) + "\n"}, "submission_id"),
        ({"ranking": [[9]]}, "ranking[0][0]"),
        ({"ranking": [[-1]]}, "ranking[0][0]"),
        ({"ranking": "0123"}, "ranking"),
        ({"quality": [0]}, "quality[0]"),
        ({"quality": [8]}, "quality[0]"),
        ({"active_s": -1}, "active_s"),
        ({"active_s": 1e9}, "active_s"),
        ({"note": "x" * 4001}, "note"),
        ({"note": "bell \x07"}, "note"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_wrong_submission_is_refused_by_the_name_of_its_field(changes: dict[str, Any], param: str) -> None:
    error = refusal(SUBMISSION | changes, SubmitIn)
    assert error.param == param
    assert error.status == 400
    assert "regex" not in str(error)


@pytest.mark.parametrize("missing", ["token", "submission_id"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = {name: value for name, value in SUBMISSION.items() if name != missing}
    assert refusal(body, SubmitIn).param == missing


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        ({"interaction_id": "int_1", "rating": 2}, FeedbackIn, "rating"),
        ({"interaction_id": "int 1", "rating": 1}, FeedbackIn, "interaction_id"),
        ({"version": "latest"}, PromoteIn, "version"),
        ({"version": "policy-0001", "override": "yes"}, PromoteIn, "override"),
    ],
)
def test_values_out_of_range_are_refused(body: object, kind: type[Any], param: str) -> None:
    assert refusal(body, kind).param == param


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"token": NaN}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(raw, SubmitIn)


def test_routes_describe_their_bodies_for_openapi() -> None:
    schema = described(PromoteIn)["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["version"]
    assert set(schema["properties"]) == {"version", "reason", "override"}
