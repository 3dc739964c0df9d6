"""Processes that train as one: shares, sums, and an end for all when one is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer.running.distributed import ALONE, World, join, world_size

ROOT = Path(__file__).parents[3]

PROGRAM = """
import json, os, signal, sys, torch
from torch import nn
from feedback.errors import DataError, WhetstoneError
from trainer.running.distributed import join

def work(world):
    found = {}
    mine = torch.full((3,), float(world.rank + 1))
    found["sum"], found["max"] = world.sum(mine).tolist(), world.max(mine).tolist()
    found["mean"], found["untouched"] = world.mean(mine).tolist(), mine.tolist()
    found["totals"] = world.totals(1.0, 0.1 * world.rank)
    found["objects"] = world.gather_objects({"rank": world.rank})
    found["broadcast"] = world.broadcast_object("from 0" if world.main else None)
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    rows, weight = world.share(torch.arange(5))
    (weight * model(torch.eye(5, 4)[rows]).square().sum()).backward()
    world.sum_gradients(model.parameters())
    found["gradient"] = model.weight.grad.tolist()
    world.require_equal(dict(model.named_parameters()), "weights")
    with torch.no_grad():
        model.bias[1] += 1e-7 * world.rank + 1e-7 * (world.rank == 1)
    try:
        world.require_equal(dict(model.named_parameters()), "weights")
    except WhetstoneError as error:
        found["drift"] = str(error)
    return found

try:
    with join(torch.device("cpu"), float(sys.argv[2])) as world:
        if sys.argv[1] == "work":
            found = work(world)
            if world.rank == 1:
                print("FOUND " + json.dumps(found), flush=True)
        else:
            world.barrier()
            if world.rank == 1 and sys.argv[1] == "fail":
                raise DataError("row 7 is unusable")
            if world.rank == 1:
                signal.pause()
            world.barrier()
except WhetstoneError as error:
    print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    sys.exit(1)
"""


def launch(program: Path, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_a_process_alone_needs_nobody() -> None:
    assert (world_size(), ALONE.main) == (1, True)
    tensor = torch.arange(3.0)
    with join(torch.device("cpu"), 1.0) as world:
        assert world == ALONE
        assert world.sum(tensor) is tensor
        assert world.max(tensor) is tensor
        assert world.totals(1.5, 2) == [1.5, 2]
        assert world.gather_objects("x") == ["x"]
        assert world.broadcast_object("x") == "x"
        assert world.share([3, 1, 2]) == ([3, 1, 2], 1.0)
        world.barrier()
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("rows", range(1, 8))
@pytest.mark.parametrize("size", range(1, 5))
def test_shares_are_every_row_once_and_nobody_is_without_one(rows: int, size: int) -> None:
    shares = [World(rank, size).share(list(range(rows))) for rank in range(size)]
    assert all(mine for mine, _ in shares)
    assert sorted(row for mine, weight in shares if weight for row in mine) == list(range(rows))
    assert sum(weight for _, weight in shares) == min(rows, size)
    lengths = [len(mine) for mine, _ in shares]
    assert max(lengths) - min(lengths) <= 1
    tensors = [World(rank, size).share(torch.arange(rows)) for rank in range(size)]
    assert [(mine.tolist(), weight) for mine, weight in tensors] == shares


def test_two_processes_add_up_and_notice_when_they_drift_apart(program: Path) -> None:
    ended = launch(program, "work", "60")
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(next(line for line in ended.stdout.splitlines() if line.startswith("FOUND"))[6:])
    assert (found["sum"], found["max"], found["mean"]) == ([3.0] * 3, [2.0] * 3, [1.5] * 3)
    assert found["untouched"] == [2.0] * 3
    assert found["totals"] == [2.0, 0.1]
    assert found["objects"] == [{"rank": 0}, {"rank": 1}]
    assert found["broadcast"] == "from 0"
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    model(torch.eye(5, 4)).square().sum().backward()
    assert model.weight.grad is not None
    assert torch.allclose(torch.tensor(found["gradient"]), model.weight.grad, atol=1e-6)
    assert found["drift"] == "weights of process 1 differ from those of process 0, first in bias"


def test_a_process_that_does_not_answer_ends_all_with_an_error(program: Path) -> None:
    ended = launch(program, "hang", "3")
    assert ended.returncode != 0
    assert "error: PeerLost: another process of this run ended or does not answer" in ended.stderr


def test_an_error_in_one_process_ends_all_and_is_told(program: Path) -> None:
    ended = launch(program, "fail", "60")
    assert ended.returncode != 0
    assert "error: DataError: row 7 is unusable" in ended.stderr
