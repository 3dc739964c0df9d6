"""Models split over processes: half of each block in each, the same gradient, and the way to files and back.

This file is also the program that the launcher runs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from feedback.errors import ConfigError
from trainer.maths.shards import clip_gradient, gradient_norm, is_part, local
from trainer.models.ema import ParameterAverage
from trainer.models.policies import load_policy
from trainer.models.scalar import ScalarModel
from trainer.running.distributed import ALONE, World, join
from trainer.running.sharding import WholeOptimizer, gathered, pull, push, shard

ROOT = Path(__file__).parents[3]
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])


def test_alone_a_model_is_its_own_twin(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    shard(policy, ALONE)
    assert pull(policy) is policy
    push(policy)
    with gathered(policy):
        assert not any(is_part(p) for p in policy.parameters())


def test_models_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(ConfigError, match="Linear does not name its blocks"):
        shard(nn.Linear(2, 2), World(0, 2, sharded=True))


def test_two_processes_hold_half_of_each_block_and_the_whole_gradient(tiny_policy_dir: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*command, str(tiny_policy_dir)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(next(line for line in ended.stdout.splitlines() if line.startswith("FOUND"))[6:])
    policy = load_policy(tiny_policy_dir)
    inside = sum(p.numel() for name, p in policy.named_parameters() if ".layers." in name)
    everything = sum(p.numel() for p in policy.parameters())
    assert found["held"] == pytest.approx(everything - inside / 2, abs=16)
    assert 0.1 < inside / everything < 0.9
    loss(policy, IDS).backward()
    assert found["norm"] == pytest.approx(gradient_norm(policy.parameters()).item(), rel=1e-5)
    before = [p.detach().clone() for p in policy.parameters()]
    average = ParameterAverage(policy, 0.5)
    step(policy).step()
    average.update(policy)
    assert found["moved"] == pytest.approx(moved(policy, before), rel=1e-3)
    average.copy_to(policy)
    assert found["average_moved"] == pytest.approx(moved(policy, before), rel=1e-3)
    assert found["logits_alone"] is True
    assert found["back"] is True
    assert found["resumed"] is True
    assert found["scalar_split"] is True


def loss(policy: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = policy(input_ids=ids, use_cache=False).logits.square().sum()
    return total


def step(policy: nn.Module) -> torch.optim.Optimizer:
    clip_gradient(policy.parameters(), 1.0)
    groups = [[p for p in policy.parameters() if is_part(p) == split] for split in (False, True)]
    return torch.optim.AdamW([{"params": group} for group in groups if group], lr=0.1, eps=1e-2, fused=True)


def moved(policy: nn.Module, before: list[torch.Tensor]) -> list[float]:
    return [(p.detach() - old).norm().item() for p, old in zip(policy.parameters(), before, strict=True)]


def program(directory: Path, world: World) -> dict[str, object]:
    policy = load_policy(directory)
    before = [p.detach().clone() for p in policy.parameters()]
    shard(policy, world)
    found: dict[str, object] = {"held": sum(local(p).numel() for p in policy.parameters())}
    with gathered(policy), torch.no_grad():
        logits = policy(input_ids=IDS).logits if world.rank else None  # one process alone: no wait for the other
        found["logits_alone"] = logits is None or bool(torch.isfinite(logits).all())
    mine, weight = world.share(torch.arange(len(IDS)))
    (weight * loss(policy, IDS[mine])).backward()
    world.sum_gradients(policy.parameters())
    found["norm"] = gradient_norm(policy.parameters()).item()
    average = ParameterAverage(policy, 0.5)
    optimizer = step(policy)
    optimizer.step()
    average.update(policy)
    found["moved"] = moved(pull(policy), before)
    kept = {name: value.clone() for name, value in pull(policy).state_dict().items()}
    state = WholeOptimizer(optimizer).state_dict()
    average.copy_to(policy)
    found["average_moved"] = moved(pull(policy), before)
    pull(policy).load_state_dict(kept)
    push(policy)
    found["back"] = all(torch.equal(value, kept[name]) for name, value in pull(policy).state_dict().items())
    WholeOptimizer(optimizer).load_state_dict(state)
    again = WholeOptimizer(optimizer).state_dict()["state"]
    found["resumed"] = all(
        torch.equal(entry, again[number][name])
        for number, each in state["state"].items()
        for name, entry in each.items()
    )
    value = ScalarModel.from_policy(directory)
    shard(value, world)
    found["scalar_split"] = any(is_part(p) for p in value.parameters())
    return found


if __name__ == "__main__":
    with join(torch.device("cpu"), 60.0, shard=True) as joined:
        result = program(Path(sys.argv[1]), joined)
        if joined.rank == 1:
            print("FOUND " + json.dumps(result), flush=True)
