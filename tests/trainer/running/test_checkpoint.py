"""A checkpoint is whole or absent, and what it puts back is equal to the last bit."""

import errno
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from feedback import artifacts
from feedback.errors import ArtifactError, Diverged
from trainer.running import checkpoint
from trainer.running.checkpoint import _Hashed as Hashed
from trainer.running.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint, write_json

SHA256_OF = artifacts.sha256_of


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
    weights = tmp_path / "step-00000002" / "tensors.pt"
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


def test_checkpoint_is_hashed_as_it_is_written_and_the_hash_is_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(artifacts, "sha256_of", lambda path: read.append(path.name) or SHA256_OF(path))
    model, optimizer = build(0)
    path = save_checkpoint(tmp_path, 1, modules={"m": model}, optimizers={"o": optimizer})
    assert "tensors.pt" not in read
    artifacts.verify(path)
    assert "tensors.pt" in read


def test_tied_weights_stay_tied_and_are_kept_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(300, 300, bias=False), nn.Linear(300, 300, bias=False)
            self.second.weight = self.first.weight

    model, other = Tied(), Tied()
    path = save_checkpoint(tmp_path, 1, modules={"m": model}, optimizers={})
    assert (path / "tensors.pt").stat().st_size < 1.5 * 4 * 300 * 300
    load_checkpoint(path, modules={"m": other}, optimizers={})
    assert torch.equal(other.second.weight, model.first.weight)
    assert other.second.weight is other.first.weight


@pytest.mark.parametrize("where", ["weight", "optimizer", "average"])
def test_a_number_that_is_none_is_never_kept(tmp_path: Path, where: str) -> None:
    model, optimizer = build(0)
    step(model, optimizer)
    average = torch.ones(2)
    spoilt = {
        "weight": model[0].weight, "optimizer": optimizer.state[model[0].weight]["exp_avg_sq"], "average": average
    }  # fmt: skip
    name = {"weight": "modules.m.0.weight", "optimizer": "optimizers.o.state.0.exp_avg_sq", "average": "tensors.e"}
    with torch.no_grad():
        spoilt[where].view(-1)[1] = math.inf
    with pytest.raises(Diverged, match=f"step 3 was written: {name[where]} holds"):
        save_checkpoint(tmp_path, 3, modules={"m": model}, optimizers={"o": optimizer}, tensors={"e": average})
    assert list(tmp_path.iterdir()) == []


def test_the_newest_two_good_checkpoints_outlive_newer_ones_that_are_not(tmp_path: Path) -> None:
    model, optimizer = build(0)
    for number, good in enumerate((True, True, False, False, False), start=1):
        save_checkpoint(tmp_path, number, modules={"m": model}, optimizers={"o": optimizer}, good=good)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["1", "2", "4", "5"]
    assert latest_checkpoint(tmp_path) == tmp_path / "step-00000005"
    assert latest_checkpoint(tmp_path, good_only=True) == tmp_path / "step-00000002"
    assert latest_checkpoint(tmp_path, good_only=True, before=2) == tmp_path / "step-00000001"
    assert latest_checkpoint(tmp_path, before=1) is None
    save_checkpoint(tmp_path, 6, modules={"m": model}, optimizers={"o": optimizer})
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["2", "5", "6"]


@pytest.mark.parametrize("call", ["write", "sync", "rename"])
def test_a_failing_disk_aborts_the_save_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    model, optimizer = build(0)
    save_checkpoint(tmp_path, 1, modules={"m": model}, optimizers={"o": optimizer})

    def fails(*_: object) -> None:
        raise OSError(errno.EIO if call == "sync" else errno.ENOSPC, call)

    with monkeypatch.context() as patch:
        if call == "write":
            patch.setattr(checkpoint, "_Hashed", lambda path: Full(path))
        else:
            patch.setattr(*{"sync": (artifacts, "sync"), "rename": (Path, "rename")}[call], fails)
        with pytest.raises(OSError, match=call):
            save_checkpoint(tmp_path, 2, modules={"m": model}, optimizers={"o": optimizer})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert latest_checkpoint(tmp_path) is not None
    save_checkpoint(tmp_path, 2, modules={"m": model}, optimizers={"o": optimizer})


class Full(Hashed):
    """A file on a disk that is full after 300 bytes, as the kernel would say it."""

    written = 0

    def write(self, data: bytes) -> int:
        self.written += len(data)
        if self.written > 300:
            self.error = OSError(errno.ENOSPC, "write: No space left on device")
            raise self.error
        return super().write(data)


def test_the_draft_of_a_killed_save_is_swept_by_the_next(tmp_path: Path) -> None:
    model, optimizer = build(0)
    (tmp_path / ".step-00000001").mkdir()
    (tmp_path / ".step-00000001" / "half").write_text("x")
    save_checkpoint(tmp_path, 1, modules={"m": model}, optimizers={"o": optimizer})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "absent") is None


def test_json_is_replaced_whole_and_numbers_stay_valid(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": Path("x")}})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": "x"}}
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]
