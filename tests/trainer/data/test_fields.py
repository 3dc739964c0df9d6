"""Fields that rows of every kind share."""

from pathlib import Path

import pytest

from trainer.data.fields import id_of, messages_of, optional_of, source_of, split_of
from trainer.data.rows import Row, Unusable


def row(**fields: object) -> Row:
    return Row(Path("data/set.jsonl"), 7, fields)


def test_id_is_the_files_own_or_made_of_its_place() -> None:
    assert id_of(row(id="x")) == "x"
    assert id_of(row(id=12)) == "12"
    assert id_of(row()) == "set.jsonl:7"


def test_empty_optional_string_is_none() -> None:
    assert optional_of(row(customer=""), "customer") is None
    assert split_of(row(split="")) is None
    assert split_of(row(split="valid")) == "valid"


def test_file_that_says_nothing_is_called_after_its_directory() -> None:
    assert source_of(Path("/d/pref-x/comparisons.jsonl.gz")) == "pref-x"
    assert source_of(Path("/d/pref-x/mine.parquet")) == "mine"


def test_extra_keys_of_a_message_are_dropped() -> None:
    message = {"role": "user", "content": "q", "name": "bob"}
    assert messages_of({"messages": [message]}) == [{"role": "user", "content": "q"}]


def test_messages_win_over_a_prompt_and_null_messages_do_not() -> None:
    messages = [{"role": "user", "content": "m"}]
    assert messages_of({"messages": messages, "prompt": "p"}) == messages
    assert messages_of({"messages": None, "prompt": "p"}) == [{"role": "user", "content": "p"}]
    with pytest.raises(Unusable):
        messages_of({})
