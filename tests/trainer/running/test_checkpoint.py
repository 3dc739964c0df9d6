"""A checkpoint is whole or absent, and what it puts back is equal to the last bit."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from feedback.errors import ArtifactError
from trainer.running.checkpoint import latest_checkpoint, load_checkpoint, publish, save_checkpoint, write_json


def build(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    return model, torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.randn(3, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_resumed_run_ends_bit_equal_to_an_uninterrupted_one(tmp_path: Path) -> None:
    model, optimizer = build(0)
    generator = torch.Generator().manual_seed(9)
    for number in range(1, 11):
        step(model, optimizer)
        drawn = torch.rand(3, generator=generator)
        if number == 5:
            save_checkpoint(
                tmp_path, 5, modules={"m": model}, optimizers={"o": optimizer}, generators={"g": generator},
                state={"cursor": 7}, tensors={"ema": torch.tensor([1.5])},
            )  # fmt: skip
    other, other_optimizer = build(1)
    other_generator = torch.Generator()
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    resumed = load_checkpoint(
        latest, modules={"m": other}, optimizers={"o": other_optimizer}, generators={"g": other_generator}
    )
    assert (resumed.step, resumed.state, resumed.tensors["ema"].item()) == (5, {"cursor": 7}, 1.5)
    for _ in range(5):
        step(other, other_optimizer)
        drawn_again = torch.rand(3, generator=other_generator)
    assert torch.equal(drawn, drawn_again)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_torn_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    model, optimizer = build(0)
    for number in (1, 2):
        save_checkpoint(tmp_path, number, modules={"m": model}, optimizers={"o": optimizer})
    weights = tmp_path / "step-00000002" / "m.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert latest_checkpoint(tmp_path) == tmp_path / "step-00000001"
    with pytest.raises(ArtifactError):
        load_checkpoint(tmp_path / "step-00000002", modules={"m": model}, optimizers={"o": optimizer})
    (tmp_path / "step-00000001" / "state.json").unlink()
    assert latest_checkpoint(tmp_path) is None


def test_only_the_newest_two_are_kept_and_one_may_be_written_again(tmp_path: Path) -> None:
    model, optimizer = build(0)
    for number in (1, 2, 3, 3):
        save_checkpoint(tmp_path, number, modules={"m": model}, optimizers={"o": optimizer})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    model, optimizer = build(0)
    path = save_checkpoint(tmp_path, 1, modules={"m": model}, optimizers={"o": optimizer})
    with pytest.raises(ArtifactError, match="does not fit"):
        load_checkpoint(path, modules={"m": nn.Linear(2, 2)}, optimizers={})
    with pytest.raises(ArtifactError, match="does not fit"):
        load_checkpoint(path, modules={"other": model}, optimizers={})


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "absent") is None


def test_json_is_replaced_whole_and_numbers_stay_valid(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": Path("x")}})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": "x"}}
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_published_directory_has_a_manifest_and_its_final_name(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "file").write_text("x")
    publish(tmp_path / "w", tmp_path / "done")
    assert not (tmp_path / "w").exists()
    assert json.loads((tmp_path / "done" / "manifest.json").read_text())["files"].keys() == {"file"}
