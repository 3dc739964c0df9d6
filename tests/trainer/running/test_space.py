"""Room is looked for first, and whatever form its end takes has one name."""

import errno
import subprocess
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.errors import DiskFull, WhetstoneError
from trainer.running import checkpoint, space
from trainer.running.checkpoint import save_checkpoint
from trainer.running.layout import working_directory
from trainer.running.loop import optimize
from trainer.running.optimization import Schedule
from trainer.running.run import open_run
from trainer.settings.stages import RewardSettings

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


class Ones:
    """The gradient of a wide layer's mean square over ones; there is no data, and so no place in it."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def __call__(self) -> dict[str, float]:
        loss = self.model(torch.ones(300)).square().mean()
        loss.backward()
        return {"loss": float(loss.detach())}

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass

    def rows(self) -> list[str]:
        return []


def train(directory: Path, after_step: Callable[[int], None] = lambda step: None) -> tuple[int, torch.Tensor]:
    """Take six steps with a checkpoint of 1.1 MB after each; return where this process began, and the weights."""
    given = RewardSettings.model_validate(
        {"output": directory / "out", "preferences": [], "threads": 1, "checkpoint_every": 1}
    )
    torch.manual_seed(0)
    model = torch.nn.Linear(300, 300)
    with open_run("reward", given) as run:
        ones = Ones(model)
        began = optimize(run, given, model, ones, ones, schedule=Schedule(steps=6), lr=0.1, after_step=after_step)
        run.finish({})
    return began, model.weight.detach()


def goes_on_when_there_is_room(
    disk: Path, whole: Path, fill: Callable[[int], None], make_room: Callable[[], None]
) -> None:
    """Train until the disk is full, look at what is left, make room, and go on to the same weights."""
    with pytest.raises(DiskFull, match=f"{disk}.*the disk is full, the last checkpoint is whole"):
        train(disk, fill)
    kept = working_directory(disk / "out") / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["step-00000002", "step-00000003"], "no draft is left"
    assert checkpoint.latest_checkpoint(kept) == kept / "step-00000003"
    make_room()
    began, weights = train(disk)
    assert began == 3
    assert torch.equal(weights, train(whole)[1])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real filesystem of six megabytes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", directory], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no filesystem may be mounted here: {made.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


def test_a_real_full_disk_costs_nothing_but_time(small_disk: Path, tmp_path: Path) -> None:
    ballast = small_disk / "ballast"

    def fill(step: int) -> None:
        if step == 4:
            room = space.shutil.disk_usage(small_disk).free
            ballast.write_bytes(bytes(room - 300_000))

    goes_on_when_there_is_room(small_disk, tmp_path / "whole", fill, ballast.unlink)


def test_an_injected_full_disk_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a filesystem of one's own: the kernel's answer is put into the write."""
    real, full = checkpoint._Hashed.write, []

    def write(file: Any, data: bytes) -> int:
        if full:
            file.error = OSError(errno.ENOSPC, "No space left on device")
            raise file.error
        return real(file, data)

    monkeypatch.setattr(checkpoint._Hashed, "write", write)
    goes_on_when_there_is_room(
        tmp_path / "disk", tmp_path / "whole", lambda step: full.append(1) if step == 4 else None, full.clear
    )


def test_a_run_does_not_begin_where_its_checkpoints_cannot_fit(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(4_000_000))
    with pytest.raises(DiskFull, match="2 MiB are free, and a run needs 4 MiB for 3 checkpoints"):
        train(small_disk)
