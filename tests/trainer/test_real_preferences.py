"""Every real preference set trains and scores from the command line; how well, `make bench-preferences` measures."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from trainer.__main__ import main

ROWS = 4
SETS = {
    # Largest K, and whether people could tie.
    "pref-hh-harmless": (2, False),
    "pref-llmfao-crowd": (59, True),
    "pref-mtbench-human": (6, True),
    "pref-oasst-ranked": (9, False),
    "pref-pandalm-3annotators": (2, True),
    "pref-qa-feedback-k4": (4, True),
}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main([str(each) for each in arguments]) == 0
    metrics: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return metrics


def most(row: dict[str, Any]) -> tuple[int, bool]:
    said = {each["winner"] for each in row["comparisons"]}
    return -len(row["responses"]), not ("tie" in said and len(said) > 1)


@pytest.mark.parametrize("name", SETS)
def test_a_set_trains_and_scores(
    data_root: Path, tiny_policy_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The rows with the most completions as they stand in the file: ties first, circles of single votes included."""
    k, with_ties = SETS[name]
    with gzip.open(data_root / name / "comparisons.jsonl.gz", "rt") as file:
        rows = sorted(map(json.loads, file), key=most)
    chosen = list(itertools.islice((row for row in rows if len(row["prompt"]) < 200), ROWS))
    assert len(chosen[0]["responses"]) == k
    (tmp_path / name).mkdir()
    path = tmp_path / name / "comparisons.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in chosen)
    limits = ("--max-prompt-tokens", 224, "--max-completion-tokens", 32, "--threads", 1)
    trained = run(
        capsys, "reward", "--policy", tiny_policy_dir, "--preferences", path, "--output", tmp_path / "rm",
        "--batch-size", 2, "--max-steps", 2, "--lr", 1e-3, "--valid-fraction", 0.0, *limits,
    )  # fmt: skip
    assert trained["steps"] == 2
    assert trained["data"]["bad_rows"] == 0
    scored = run(
        capsys, "score", "--reward-model", tmp_path / "rm", "--preferences", path, "--output", tmp_path / "s", *limits
    )
    lines = (tmp_path / "s" / "scores.jsonl").read_text().splitlines()
    assert len(lines) == ROWS - scored["data"]["long_prompts_dropped"]
    assert len(lines) >= 2
    found = scored["by_set"][name]
    assert found["pairs"] == scored["all"]["pairs"] >= 1
    assert 0.0 <= found["low"] <= found["accuracy"] <= found["high"] <= 1.0
    assert (scored["ties"] > 0) is with_ties
    assert {row["set"] for row in map(json.loads, lines)} == {name}
