"""What two runs left is compared to the bit, times left out and nothing else."""

import json
from pathlib import Path

import torch

from benchmarks.tiny_runs import _leaves, result_digests


def leave(directory: Path, loss: float, seconds: float) -> Path:
    """Make a published result."""
    directory.mkdir()
    line = {"step": 1, "s": seconds, "loss": loss, "time/learn_s": seconds}
    (directory / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (directory / "metrics.json").write_text(json.dumps({"wall_s": seconds, "last": line}))
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "manifest.json").write_text("{}")
    return directory


def test_times_do_not_count_and_figures_do(tmp_path: Path) -> None:
    first = result_digests(leave(tmp_path / "a", 0.5, 1.0))
    assert first.keys() == {"metrics.jsonl", "metrics.json", "model.safetensors"}
    assert result_digests(leave(tmp_path / "b", 0.5, 2.0)) == first
    other = result_digests(leave(tmp_path / "c", 0.5000001, 1.0))
    assert {name for name in first if other[name] != first[name]} == {"metrics.jsonl", "metrics.json"}


def test_every_tensor_and_plain_value_of_a_checkpoint_has_a_name(tmp_path: Path) -> None:
    one, minus = torch.zeros(2), -torch.zeros(2)
    found = dict(_leaves({"a": {"w": one}, "r": (1, [None, torch.tensor(3)])}, ""))
    assert found.keys() == {"/a/w", "/r/0", "/r/1/0", "/r/1/1"}
    assert dict(_leaves({"a": {"w": minus}}, ""))["/a/w"] != found["/a/w"], "-0.0 equals 0.0, and is other bits"
