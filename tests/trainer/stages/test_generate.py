"""Generated files: their rows, their determinism, and greedy decoding as the reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.errors import ConfigError
from trainer.models.policies import load_policy, load_tokenizer
from trainer.settings.evaluate import GenerateSettings
from trainer.stages.generate import run


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def settings(policy: Path, prompts: Path, output: Path, **changes: object) -> GenerateSettings:
    given = {"policy": policy, "prompts": [prompts], "output": output, "max_completion_tokens": 12, "device": "cpu"}
    return GenerateSettings.model_validate(given | changes)


def test_greedy_rows_hold_what_transformers_would_decode(
    tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path
) -> None:
    metrics = run(settings(tiny_policy_dir, prompt_file, tmp_path / "out.jsonl", greedy=True))
    policy, tokenizer = load_policy(tiny_policy_dir), load_tokenizer(tiny_policy_dir)
    found = rows(tmp_path / "out.jsonl")
    assert len(found) == metrics["prompts"] == 40
    for row in found[:6]:
        ids = tokenizer.apply_chat_template(
            row["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        whole = policy.generate(ids, max_new_tokens=12, do_sample=False)
        completion = row["completions"][0]
        assert completion["token_ids"] == whole[0, ids.shape[1] :].tolist()
        assert completion["text"] == tokenizer.decode(completion["token_ids"], skip_special_tokens=True)
        assert completion["finished"] == (completion["token_ids"][-1] == tokenizer.eos_token_id)
        assert len(completion["logprobs"]) == len(completion["token_ids"])
        with torch.no_grad():
            first = torch.log_softmax(policy(ids).logits[0, -1], -1).max().item()
        assert completion["logprobs"][0] == pytest.approx(first, abs=1e-4)


def test_n_completions_a_prompt_by_seed(tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(settings(tiny_policy_dir, prompt_file, tmp_path / f"{name}.jsonl", n=3, seed=seed, logprobs=False))
    a, b, c = ((tmp_path / f"{name}.jsonl").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    completions = rows(tmp_path / "a.jsonl")[0]["completions"]
    assert len(completions) == 3
    assert completions[0]["text"] != completions[1]["text"]
    assert "logprobs" not in completions[0]


def test_a_directory_gets_completions_and_metrics(tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path) -> None:
    run(settings(tiny_policy_dir, prompt_file, tmp_path / "probe", temperature=0.0))
    run(settings(tiny_policy_dir, prompt_file, tmp_path / "greedy.jsonl", greedy=True))
    assert (tmp_path / "probe" / "completions.jsonl").read_bytes() == (tmp_path / "greedy.jsonl").read_bytes()
    assert json.loads((tmp_path / "probe" / "metrics.json").read_text())["completions"] == 40


def test_an_existing_directory_is_no_file_to_write(tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").mkdir()
    with pytest.raises(ConfigError, match="is a directory"):
        run(settings(tiny_policy_dir, prompt_file, tmp_path / "out.jsonl"))
