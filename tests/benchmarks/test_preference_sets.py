"""Real sets become rows without their prompts leaking from one fold, or from the base's text, into another."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.preference_sets import (
    Row,
    conversation,
    deal,
    ending,
    lines,
    normal,
    read_dialogues,
    read_set,
    real_data,
    write_rows,
)

SETS = {
    "pref-hh-harmless": 1726,
    "pref-llmfao-crowd": 10,
    "pref-mtbench-human": 128,
    "pref-oasst-ranked": 146,
    "pref-pandalm-3annotators": 736,
    "pref-qa-feedback-k4": 385,
}


def row(number: int, key: str, name: str = "one") -> Row:
    return Row(
        set=name, id=f"{name}/{number}", key=key, messages=[{"role": "user", "content": key}], texts=["a", "b"],
        comparisons=[{"a": 0, "b": 1, "winner": "b", "annotator": None}],
    )  # fmt: skip


def write_set(directory: Path, *rows: dict[str, Any]) -> Path:
    directory.mkdir(parents=True)
    with gzip.open(directory / "comparisons.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(each) + "\n" for each in rows)
    return directory


def test_conversations_of_every_format() -> None:
    assert conversation({"prompt": "Name three colours"}) == [{"role": "user", "content": "Name three colours"}]
    marked = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: a joke?\n\nAssistant:"
    assert [(m["role"], m["content"]) for m in conversation({"prompt": marked})] == [
        ("user", "hi"), ("assistant", "hello"), ("user", "a joke?"),
    ]  # fmt: skip
    turns = [{"role": "prompter", "text": "x"}, {"role": "assistant", "text": "y"}, {"role": "prompter", "text": "z"}]
    found = conversation({"prompt": "whatever", "meta": {"turns": turns}})
    assert [message["role"] for message in found] == ["user", "assistant", "user"]


def test_the_end_of_a_conversation_is_kept() -> None:
    messages = [{"role": "user", "content": letter * 10} for letter in "abc"]
    assert ending(messages, 100) == messages
    assert ending(messages, 25) == messages[1:]
    assert ending([{"role": "user", "content": "0123456789"}], 4) == [{"role": "user", "content": "6789"}]
    assert ending([{"role": "user", "content": "aéé"}], 3) == [{"role": "user", "content": "é"}]


def test_votes_of_models_and_rows_of_one_text_are_left_out(tmp_path: Path) -> None:
    def fields(identity: str, texts: list[str], annotators: list[str | None]) -> dict[str, Any]:
        return {
            "id": identity,
            "prompt": "Why?",
            "responses": [{"text": text} for text in texts],
            "comparisons": [{"a": 0, "b": 1, "winner": "a", "annotator": each} for each in annotators],
        }

    found = read_set(
        write_set(
            tmp_path / "pref-x",
            fields("1", ["x", "y"], ["human:1", "model:gpt", None]),
            fields("2", ["x", "y"], ["model:gpt"]),
            fields("3", ["x", "x"], [None]),
        ),
        200,
    )
    assert [(each.id, len(each.comparisons)) for each in found] == [("pref-x/1", 2)]
    assert found[0].pairs == [(0, 1), (0, 1)]
    assert found[0].key == "why"


def test_folds_are_even_in_every_set_and_share_no_key() -> None:
    rows = [row(n, f"prompt {n % 20}") for n in range(60)] + [row(n, f"prompt {n}", "two") for n in range(15, 30)]
    folds = deal(rows, 5)
    assert set(folds.values()) == set(range(5))
    sizes = [sum(folds[key] == fold for key in {f"prompt {n}" for n in range(20)}) for fold in range(5)]
    assert sizes == [4] * 5
    assert deal(list(reversed(rows)), 5) == folds


def test_rows_are_written_as_the_trainer_reads_them(tmp_path: Path) -> None:
    paths = write_rows(tmp_path / "train", [row(1, "why"), row(2, "how", "two")])
    assert [path.name for path in paths] == ["one.jsonl", "two.jsonl"]
    [fields] = lines(paths[0])
    assert fields["messages"] == [{"role": "user", "content": "why"}]
    assert fields["comparisons"][0]["winner"] == "b"


@pytest.mark.parametrize("name", SETS)
def test_real_sets(data_root: Path, name: str) -> None:
    rows = read_set(data_root / name, 200)
    assert len(rows) == SETS[name]
    assert all(each.key and each.messages[-1]["role"] == "user" for each in rows)
    assert all(sum(len(message["content"].encode()) for message in each.messages) <= 200 for each in rows)
    assert sum(len(each.pairs) for each in rows) > 500
    assert not any(str(c["annotator"]).startswith("model:") for each in rows for c in each.comparisons)


def test_real_dialogues_hold_no_prompt_of_a_preference_row(data_root: Path) -> None:
    keys = {each.key for name in SETS for each in read_set(data_root / name, 200)}
    found = read_dialogues(data_root, keys)
    assert found.left_out == 0
    assert len(found.demonstrations) > 2000
    taken = normal(found.demonstrations[0][0])
    again = read_dialogues(data_root, [*keys, taken])
    assert again.left_out >= 1
    assert taken not in {normal(prompt) for prompt, _ in again.demonstrations}


def test_without_data_the_bench_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match="nowhere; set WHETSTONE_DATA"):
        real_data()
