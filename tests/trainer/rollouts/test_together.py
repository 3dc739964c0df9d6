"""Sampling in shares: the tokens of a row are the same whoever draws them, and nobody sees half a batch."""

from __future__ import annotations

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
