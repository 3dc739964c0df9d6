import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xgrammar")

from serve.asking import nursery
from tests.serve.conftest import make_policy


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A policy's vocabulary."""
    return nursery.load(make_policy(tmp_path_factory.mktemp("nursery") / "policy", 0))


def judged(vocabulary: Any, *schemas: Any) -> str:
    return nursery.try_out([json.dumps(each) for each in schemas], vocabulary)


def test_a_vocabulary_is_as_large_as_the_models_output(vocabulary: Any) -> None:
    assert vocabulary.vocab_size == 262


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"}, {}, {"type": "array", "items": {"type": "integer"}, "minItems": 3},
        {"type": "string", "pattern": "(a+)+b"}, {"type": "string", "maxLength": 500},
        {"type": "object", "properties": {f"p{place}": {"type": "string"} for place in range(100)}},
        {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#"}}}},
    ],
)  # fmt: skip
def test_what_people_ask_for_passes(vocabulary: Any, schema: Any) -> None:
    assert judged(vocabulary, schema) == ""


def test_what_is_slow_to_understand_is_told(vocabulary: Any) -> None:
    assert "understood" in judged(vocabulary, {"type": "string", "pattern": "a{1,3000}"})


def test_many_schemas_share_one_limit(vocabulary: Any) -> None:
    one = {"type": "string", "pattern": "a{1,400}"}
    assert judged(vocabulary, one) == ""
    assert "understood" in judged(vocabulary, *([one] * 16))


def test_what_is_slow_to_follow_is_told(vocabulary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "STEP_S", 0.0)
    assert "followed" in judged(vocabulary, {"type": "string"})


def test_what_is_no_schema_raises(vocabulary: Any) -> None:
    with pytest.raises(RuntimeError):
        judged(vocabulary, {"type": "nonsense"})


def test_a_directory_without_a_tokenizer_raises(tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError)):
        nursery.load(tmp_path)
