"""Room on a disk: looked for before a run begins, and what is said when it is used up.

Knows bytes, free space and the forms that "no space left" takes; does not know what is written.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from feedback.errors import DiskFull

CHECKPOINTS_AT_ONCE = 3
"""Two that are kept and one that is being written."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_SPACE_TEXT = ("No space left on device", "os error 28", "Disk quota exceeded", "os error 122")
"""What libraries written in other languages say instead of an error number."""
_MIB = 2**20


def require_room(directory: Path, checkpoint_bytes: int) -> None:
    """Check that three checkpoints fit, those that are there already included.

    Args:
        directory: where checkpoints will be; it or a parent of it exists.
        checkpoint_bytes: of one.

    Raises:
        DiskFull: they do not; names what is free and what is needed.
    """
    found = next(each for each in (directory, *directory.parents) if each.exists())
    free = shutil.disk_usage(found).free
    mine = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    needed = CHECKPOINTS_AT_ONCE * checkpoint_bytes
    if free + mine < needed:
        raise DiskFull(
            f"{found}: {free / _MIB:.0f} MiB are free, and a run needs {(needed - mine) / _MIB:.0f} MiB for "
            f"{CHECKPOINTS_AT_ONCE} checkpoints; make room and start the same command again"
        )


def checkpoint_bytes(modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]) -> int:
    """Return about how large a checkpoint of these will be, an average of the trained weights included.

    Optimizers count as AdamW's two moments, which are not there before the first step.
    """
    weights = sum(_bytes(tensor) for module in modules.values() for tensor in module.state_dict().values())
    trained = [_bytes(p) for optimizer in optimizers.values() for g in optimizer.param_groups for p in g["params"]]
    return weights + 3 * sum(trained)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn an error of the block into ``DiskFull`` if space that ran out is behind it.

    Raises:
        DiskFull: the disk of ``directory``, or a quota on it, is used up.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise DiskFull(
                f"{directory}: the disk is full, the last checkpoint is whole; make room and start the same again"
            ) from error
        raise


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it was raised from, says that space has run out."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        if any(text in str(error) for text in _NO_SPACE_TEXT):
            return True
        error = error.__cause__ or error.__context__
    return False
