"""Room is looked for first, and whatever form its end takes has one name."""

import errno
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from feedback.errors import DiskFull, WhetstoneError
from trainer.running import space
from trainer.running.checkpoint import save_checkpoint

Usage = namedtuple("Usage", "total used free")


def test_three_checkpoints_must_fit_those_already_there_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: Usage(0, 0, 2 * 2**20))
    target = tmp_path / "run" / "checkpoints"
    space.require_room(target, 2**19)
    with pytest.raises(DiskFull, match=r"2 MiB are free, and a run needs 3 MiB"):
        space.require_room(target, 2**20)
    target.mkdir(parents=True)
    (target / "step").write_bytes(bytes(2**20))
    space.require_room(target, 2**20)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_has_one_name_in_every_form(tmp_path: Path, error: Exception) -> None:
    def save() -> None:
        try:
            raise error
        except Exception as inner:
            raise RuntimeError("unexpected pos 832") from inner

    with pytest.raises(DiskFull, match="make room and start"), space.explained(tmp_path):
        save()


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone") as found, space.explained(tmp_path):
        raise OSError(errno.EIO, "gone")
    assert not isinstance(found.value, WhetstoneError)
    with pytest.raises(DiskFull, match="mine"), space.explained(tmp_path):
        raise DiskFull("mine")


def test_size_of_a_checkpoint_counts_moments_and_average_and_is_about_that_of_the_file(tmp_path: Path) -> None:
    model = torch.nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(300)).sum().backward()
    optimizer.step()
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = save_checkpoint(tmp_path, 1, modules={"m": model}, optimizers={"o": optimizer}, tensors=average)
    size = sum(file.stat().st_size for file in path.iterdir())
    assert space.checkpoint_bytes({"m": model}, {"o": optimizer}) == pytest.approx(size, rel=0.05)
