"""Bodies about items and queues: strict, bounded, and refused in words that name the field."""

import json
from typing import Any

import msgspec
import pytest

from feedback.records import QueueConfig
from serve.asking.schemas import decode
from serve.asking.schemas_labeling import HeartbeatIn, NextIn, QueueConfigIn, ReportIn, SkipIn
from serve.errors import InvalidRequest


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        ({"queue": "Fun"}, NextIn, "queue"),
        ({"queue": "training:partial"}, NextIn, "queue"),
        ({"queue": "x" * 65}, NextIn, "queue"),
        ({"queue": "training\n"}, NextIn, "queue"),
        ({"token": 0}, HeartbeatIn, "token"),
        ({"token": 1, "reason": ""}, SkipIn, "reason"),
        ({"token": 1, "reason": "boring"}, SkipIn, "reason"),
        ({"token": 1}, SkipIn, "reason"),
        ({"token": 1, "reason": "other", "note": "x" * 4001}, SkipIn, "note"),
        ({"token": 1, "reason": "ugly"}, ReportIn, "reason"),
        ({"token": 1, "reason": "illegal", "note": "bell \x07"}, ReportIn, "note"),
        ({"k": 1}, QueueConfigIn, "k"),
        ({"models": []}, QueueConfigIn, "models"),
        ({"models": ["a b"]}, QueueConfigIn, "models[0]"),
        ({"languages": ["German"]}, QueueConfigIn, "languages[0]"),
        ({"use_cases": ["poetry"]}, QueueConfigIn, "use_cases[0]"),
        ({"gold_percent": 21}, QueueConfigIn, "gold_percent"),
        ({"name": "other"}, QueueConfigIn, "name"),
    ],
)
def test_a_wrong_body_is_refused_by_the_name_of_its_field(body: object, kind: type[Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(json.dumps(body).encode(), kind)
    assert caught.value.param == param
    assert "regex" not in str(caught.value)


def test_operators_can_set_everything_about_a_queue_but_its_name() -> None:
    own = {field.name for field in msgspec.structs.fields(QueueConfigIn)}
    assert own == {field.name for field in msgspec.structs.fields(QueueConfig)} - {"name"}


def test_what_is_absent_is_told_from_what_is_empty() -> None:
    given = decode(b'{"needs":[],"daily_cap":0}', QueueConfigIn)
    assert (given.needs, given.daily_cap) == ([], 0)
    assert given.overlap is msgspec.UNSET
