"""Limits of what is read, and the order it is taken in."""

import json
from pathlib import Path
from typing import Any

import pytest

from feedback.errors import DataError
from trainer.data.examples import Limits, Prompt, by_id
from trainer.settings.stages import SftSettings
from trainer.stages import sft


def test_limits_shrink_to_the_models_context() -> None:
    assert Limits(prompt_tokens=1024, completion_tokens=1024).within(512) == Limits(
        prompt_tokens=256, completion_tokens=256
    )
    assert Limits(prompt_tokens=900, completion_tokens=64).within(512) == Limits(
        prompt_tokens=448, completion_tokens=64
    )
    assert Limits().within(None) == Limits()


def test_items_are_taken_in_the_order_of_their_ids() -> None:
    items = [Prompt(id=id, messages=[], prompt_ids=[1]) for id in ("b", "c", "a")]
    assert [item.id for item in by_id(items)] == ["a", "b", "c"]


def tune(policy: Path, directory: Path, rows: list[dict[str, Any]], **changes: object) -> dict[str, Any]:
    """Fine-tune for two steps on rows in the order given."""
    directory.mkdir()
    (directory / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "output": directory / "out", "policy": policy, "demonstrations": [directory / "d.jsonl"], "threads": 1,
        "batch_size": 4, "epochs": 1, "max_steps": 2, "max_prompt_tokens": 64, "max_completion_tokens": 24,
    }  # fmt: skip
    return sft.run(SftSettings.model_validate(given | changes))


ROWS = [{"id": f"d{n}", "prompt": f"Question {n}?", "response": "red " * (n % 3 + 1)} for n in range(12)]


def test_the_same_rows_in_another_order_make_the_same_weights(tiny_policy_dir: Path, tmp_path: Path) -> None:
    tune(tiny_policy_dir, tmp_path / "one", ROWS)
    tune(tiny_policy_dir, tmp_path / "other", ROWS[5:] + ROWS[4::-1])
    one, other = ((tmp_path / name / "out" / "model.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other


def test_a_stage_sets_bad_rows_aside_in_its_output_or_refuses_too_many(tiny_policy_dir: Path, tmp_path: Path) -> None:
    bad = [{"id": "x", "prompt": "No answer"}]
    with pytest.raises(DataError, match=r"1 of 13 rows of demonstrations are unusable.*--max-bad-share 0.01"):
        tune(tiny_policy_dir, tmp_path / "strict", bad + ROWS, skip_bad=True)
    metrics = tune(tiny_policy_dir, tmp_path / "lax", bad + ROWS, skip_bad=True, max_bad_share=0.1)
    [line] = (tmp_path / "lax" / "out" / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line)["line"] == 1
    assert metrics["data"]["bad_rows"] == 1
