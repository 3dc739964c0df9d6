"""``python -m sandbox`` writes files that the trainer reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.__main__ import main


def write(directory: Path, what: str, *options: str, count: int = 20) -> list[dict[str, Any]]:
    target = directory / "deep" / f"{what}.jsonl"
    assert main([what, "--out", str(target), "--n", str(count), *options]) == 0
    return [json.loads(line) for line in target.read_text().splitlines()]


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("corpus", {"text"}),
        ("prompts", {"id", "prompt", "customer", "split"}),
        ("unstated", {"id", "prompt"}),
        ("demonstrations", {"id", "prompt", "response", "labeler", "split"}),
    ],
)
def test_each_kind_of_file_has_its_rows_and_fields(tmp_path: Path, what: str, fields: set[str]) -> None:
    rows = write(tmp_path, what)
    assert len(rows) == 20
    assert all(fields <= set(row) for row in rows)
    assert all(value.strip() for row in rows for value in row.values() if isinstance(value, str))


@pytest.mark.parametrize("what", ["corpus", "prompts", "demonstrations"])
def test_the_same_seed_writes_the_same_file_and_another_seed_another(tmp_path: Path, what: str) -> None:
    first = write(tmp_path, what, "--seed", "3")
    assert write(tmp_path, what, "--seed", "3") == first
    assert write(tmp_path, what, "--seed", "4") != first


def test_customers_of_the_two_splits_are_different_people(tmp_path: Path) -> None:
    train = {row["customer"] for row in write(tmp_path, "prompts", "--split", "train", count=200)}
    test = {row["customer"] for row in write(tmp_path, "prompts", "--split", "test", count=200)}
    assert train
    assert test
    assert not train & test


def test_prompts_are_all_different(tmp_path: Path) -> None:
    texts = [row["prompt"] for row in write(tmp_path, "prompts", count=300)]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("name", ["completions", "responses"])
def test_completions_become_comparisons_of_every_pair(tmp_path: Path, name: str) -> None:
    source = tmp_path / "completions.jsonl"
    answers = [{"text": "Mia lives in Rome."}, {"text": "In Oslo, you fool."}, {"text": "Mia", "finished": False}]
    source.write_text(json.dumps({"prompt": "Mia lives in Rome. Where does Mia live?", name: answers}) + "\n")
    (row,) = write(tmp_path, "comparisons", "--completions", str(source), "--group", "held-out")
    assert [(pair["a"], pair["b"]) for pair in row["comparisons"]] == [(0, 1), (0, 2), (1, 2)]
    assert {pair["winner"] for pair in row["comparisons"]} <= {"a", "b", "tie"}
    assert row["labeler_group"] == "held-out"
    assert row["responses"][2]["finished"] is False


@pytest.mark.parametrize("options", [["prompts", "--n", "0"], ["comparisons"], ["poems"]])
def test_a_wrong_command_line_is_refused(tmp_path: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*options, "--out", str(tmp_path / "none")])
    assert caught.value.code == 2
    assert not (tmp_path / "none").exists()
