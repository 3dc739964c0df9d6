"""Sampling in shares: the tokens of a row are the same whoever draws them, and nobody sees half a batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.errors import StageFailed
from trainer.models.policies import load_policy
from trainer.rollouts.rollout import Rollout
from trainer.rollouts.together import sample_together
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.running.distributed import ALONE, World

ROOT = Path(__file__).parents[3]
EOS, PAD = 2, 0
PROMPTS = [[1, 20, 30, 40, 50], [1, 60], [1, 70, 80, 90, 100, 110, 120], [1, 33, 44], [1, 9]]


class Told(World):
    """A world whose other processes have said what they will say."""

    said: dict[int, list[Any]] = {}

    def gather_objects(self, value: Any) -> list[Any]:
        self.said.setdefault(self.size, [None] * self.size)[self.rank] = value
        return self.said[self.size]


def sampler(directory: Path, batch_size: int = 0) -> TransformersSampler:
    return TransformersSampler(
        load_policy(directory), eos_id=EOS, pad_id=PAD, max_completion_tokens=16, batch_size=batch_size
    )


def equal(one: Rollout, other: Rollout) -> bool:
    return one.completions() == other.completions() and torch.allclose(
        one.sampler_logprobs_BA, other.sampler_logprobs_BA, atol=1e-5
    )


@pytest.mark.parametrize("batch_size", [0, 2, 3])
@pytest.mark.parametrize("rows", [[0], [4], [1, 3], [0, 2, 4]])
def test_a_row_gets_the_same_tokens_whichever_rows_are_drawn(
    tiny_policy_dir: Path, rows: list[int], batch_size: int
) -> None:
    whole = sampler(tiny_policy_dir, batch_size).sample(PROMPTS, seed=3)
    part = sampler(tiny_policy_dir, batch_size).sample(PROMPTS, seed=3, rows=rows)
    assert part.completions() == [whole.completions()[row] for row in rows]


@pytest.mark.parametrize("size", [2, 3, 7])
def test_processes_together_draw_what_one_draws(tiny_policy_dir: Path, size: int) -> None:
    alone = sample_together(sampler(tiny_policy_dir), PROMPTS, 5, ALONE, eos_id=EOS, pad_id=PAD)
    Told.said.clear()
    own = sampler(tiny_policy_dir)
    for rank in range(size - 1, 0, -1):  # each says its part; rank 0, the last, then hears all
        mine = list(range(len(PROMPTS)))[rank::size]
        rollout = own.sample(PROMPTS, 5, mine) if mine else None
        Told(rank, size).gather_objects(told(rollout))
    assert equal(alone, sample_together(own, PROMPTS, 5, Told(0, size), eos_id=EOS, pad_id=PAD))


def test_samplers_with_different_weights_are_noticed(tiny_policy_dir: Path) -> None:
    Told.said.clear()
    own = sampler(tiny_policy_dir)
    version, *rest = told(own.sample(PROMPTS, 5, [1, 3])) or ()
    Told(1, 2).gather_objects((version + 1, *rest))
    with pytest.raises(StageFailed, match=r"different versions of the policy: \[0, 1\]"):
        sample_together(own, PROMPTS, 5, Told(0, 2), eos_id=EOS, pad_id=PAD)


def told(rollout: Rollout | None) -> tuple[int, list[list[int]], Sequence[list[float]]] | None:
    if rollout is None:
        return None
    lengths = rollout.completion_tokens_B.tolist()
    logprobs = [row[:n] for row, n in zip(rollout.sampler_logprobs_BA.tolist(), lengths, strict=True)]
    return rollout.policy_version, rollout.completions(), logprobs


PROGRAM = """
import json, sys, torch
from pathlib import Path
from trainer.models.policies import load_policy
from trainer.rollouts.together import MainSampler, sample_together
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.running.distributed import join
from trainer.running.sharding import shard

policy, prompts = load_policy(sys.argv[1]), json.loads(sys.argv[2])
made = []

def start():
    made.append(TransformersSampler(load_policy(sys.argv[1]), eos_id=2, pad_id=0, max_completion_tokens=8))
    return made[0]

with join(torch.device("cpu"), 60.0, shard=True) as world:
    shard(policy, world)
    sampler = MainSampler(start, world)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.5)
    sampler.push(policy, 3)
    rollout = sample_together(sampler, prompts, 7, world, eos_id=2, pad_id=0)
    sampler.close()
    found = {"version": rollout.policy_version, "completions": rollout.completions(), "samplers": len(made),
             "logprobs": rollout.sampler_logprobs_BA.tolist()}
    (Path(sys.argv[3]) / f"{world.rank}.json").write_text(json.dumps(found))
"""


def launch(program: str, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "VLLM_CPU_KVCACHE_SPACE": "1"}
    environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # which must not make the engine one of the run
    path = Path(arguments[-1]) / "program.py"
    path.write_text(program)
    done = subprocess.run(
        [*command, path, *arguments], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-9000:]


def test_one_sampler_answers_two_processes_with_the_weights_that_both_hold_half_of(
    tiny_policy_dir: Path, tmp_path: Path
) -> None:
    launch(PROGRAM, tiny_policy_dir, json.dumps(PROMPTS), tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert (first.pop("samplers"), second.pop("samplers")) == (1, 0)
    assert first == second
    policy = load_policy(tiny_policy_dir)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.5)
    alone = TransformersSampler(policy, eos_id=EOS, pad_id=PAD, max_completion_tokens=8)
    assert (first["version"], first["completions"]) == (3, alone.sample(PROMPTS, 7).completions())


TRAINING = """
import sys
from pathlib import Path
from trainer.ppo import ppo
from trainer.settings.ppo import PpoSettings

if __name__ == "__main__":
    policy, reward, prompts, output = map(Path, sys.argv[1:])
    ppo.run(PpoSettings(
        policy=policy, reward=reward, prompts=[prompts], output=output / "out", sampler="vllm", threads=1, device="cpu",
        episodes=18, batch_size=6, minibatches=2, max_prompt_tokens=64, max_completion_tokens=8, lr=1e-2, value_lr=1e-2,
        warmup_iterations=0, max_kl_nats=1e6, max_eos_drop=1.0, min_entropy_ratio=0.0, shard=True,
    ))
"""


@pytest.mark.vllm
@pytest.mark.slow
def test_two_processes_train_with_one_engine_that_gets_every_iterations_weights(
    tiny_policy_dir: Path, tiny_reward_dir: Path, prompt_file: Path, tmp_path: Path
) -> None:
    pytest.importorskip("vllm")
    launch(TRAINING, tiny_policy_dir, tiny_reward_dir, prompt_file, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert all(line["sampler/gap_max"] < 1e-3 for line in lines)
    assert lines[2]["objective/kl"] > 0.05, "the policy moved, so stale weights would have shown"
