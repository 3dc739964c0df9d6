"""Records: frozen, strict about what they are decoded from, and the same after a round trip."""

import inspect
import json
from typing import Any

import msgspec
import pytest

from feedback import records
from feedback.client import decode, encode
from feedback.errors import InvalidRecord
from feedback.records import ApiKey, Comparison, Interaction, Label, Record
from tests.builders import (
    NOON,
    make_audit_entry,
    make_comparison,
    make_demonstration,
    make_interaction,
    make_label,
    make_policy,
    make_prompt,
    make_rating,
    make_report,
    make_reward_model,
    make_round,
    make_swap,
)

MADE: list[Record] = [
    ApiKey(id="key_1", role="client", owner="acme", secret_sha256="0", created_at=NOON),
    make_audit_entry(),
    make_comparison(),
    make_demonstration(make_prompt()),
    make_interaction(),
    make_label(make_comparison()),
    make_policy(),
    make_prompt(),
    make_rating(),
    make_report(),
    make_reward_model(),
    make_round(),
    make_swap(),
]


@pytest.mark.parametrize("record", MADE, ids=lambda record: type(record).__name__)
def test_a_record_is_the_same_after_a_round_trip(record: Record) -> None:
    assert decode(encode(record), type(record)) == record


@pytest.mark.parametrize("record", MADE, ids=lambda record: type(record).__name__)
def test_a_record_refuses_unknown_fields_by_name(record: Record) -> None:
    fields = json.loads(encode(record)) | {"colour": "blue"}
    with pytest.raises(InvalidRecord, match="colour"):
        decode(json.dumps(fields), type(record))


@pytest.mark.parametrize("record", MADE, ids=lambda record: type(record).__name__)
def test_a_record_cannot_be_changed(record: Record) -> None:
    name = record.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(record, name, "other")


def all_records() -> list[type[Record]]:
    found = [each for _, each in inspect.getmembers(records, inspect.isclass) if issubclass(each, Record)]
    return [each for each in found if each is not Record]


def test_all_records_are_frozen_keyword_only_and_strict() -> None:
    assert len(all_records()) >= 15
    for kind in all_records():
        config = kind.__struct_config__
        assert config.frozen, kind
        assert config.forbid_unknown_fields, kind
        with pytest.raises(TypeError, match="positional"):
            kind("a value")


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        (Comparison, {"k": 1}, "k"),
        (Comparison, {"k": 10}, "k"),
        (Comparison, {"overlap": 0}, "overlap"),
        (Comparison, {"purpose": "fun"}, "purpose"),
        (Comparison, {"split": "all"}, "split"),
        (Label, {"quality": [0]}, "quality"),
        (Label, {"quality": [8]}, "quality"),
        (Label, {"ranking": [["0"]]}, "ranking"),
        (Interaction, {"prompt_tokens": -1}, "prompt_tokens"),
        (Interaction, {"created_at": "yesterday"}, "created_at"),
        (Interaction, {"messages": [{"role": "robot", "content": ""}]}, "role"),
        (Interaction, {"consent": "no"}, "consent"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_name_of_its_field(
    kind: type[Record], fields: dict[str, Any], named: str
) -> None:
    valid = {Comparison: make_comparison(), Label: make_label(make_comparison()), Interaction: make_interaction()}[kind]
    with pytest.raises(InvalidRecord, match=named):
        decode(json.dumps(json.loads(encode(valid)) | fields), kind)


def test_a_missing_field_is_named() -> None:
    fields = json.loads(encode(make_interaction()))
    del fields["customer"]
    with pytest.raises(InvalidRecord, match="customer"):
        decode(json.dumps(fields), Interaction)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"x"', "\x00"])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecord, match="not a Interaction"):
        decode(text, Interaction)


def test_any_unicode_text_survives_a_round_trip() -> None:
    text = "nul \x00, bell \x07, 🦊, \u202e right to left, \U0010ffff, é"
    record = make_interaction(text)
    assert decode(encode(record), Interaction).messages[0].content == text


@pytest.mark.parametrize(
    "changes",
    [{"active_s": float("nan")}, {"active_s": float("inf")}, {"quality": [99] * 4}, {"note": "half \ud800 a pair"}],
    ids=["nan", "infinity", "quality", "surrogate"],
)
def test_a_record_that_could_not_be_read_back_is_refused_before_it_is_written(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord, match="Label"):
        encode(msgspec.structs.replace(make_label(make_comparison()), **changes))


def test_now_is_aware_and_utc() -> None:
    assert records.utc_now().utcoffset() is not None
    assert str(records.utc_now().tzinfo) == "UTC"
