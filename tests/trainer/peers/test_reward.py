"""One real step of TRL 1.16's reward trainer against our K-wise loss, on the same model and completions.

TRL takes pairs: K completions of a prompt become K (K - 1) / 2 rows, twice as many forward passes, each row of the same
weight. With K = 2 both are one loss. With larger K ours gives every prompt the same weight, so that TRL's mean over all
pairs is ours only where every prompt has the same number of them.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.trainer.peers.conftest import VOCABULARY, Differences, run_peer, save_models, scalar_model
from trainer.data.batches import pad
from trainer.maths.losses import kwise_loss, kwise_loss_batch
from trainer.models.scalar import ScalarModel

TIGHT = 5e-6
PROMPTS, K = 4, 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_models(tmp_path_factory.mktemp("reward"), eos_weight=0.0)


@pytest.fixture(scope="module")
def completions() -> list[list[list[int]]]:
    """Token ids of prompt and completion together, best first, K of each of the prompts."""
    generator = torch.Generator().manual_seed(3)

    def draw(length: int) -> list[int]:
        return torch.randint(2, VOCABULARY, (length,), generator=generator).tolist()

    return [[prompt + draw(2 + (n + k) % 4) for k in range(K)] for n in range(PROMPTS) for prompt in [draw(3 + n)]]


@pytest.fixture(scope="module")
def theirs(models: Path, completions: list[list[list[int]]]) -> dict[int, dict[str, Tensor]]:
    """Loss, rewards and gradients of one step of TRL's trainer, for each K."""
    for k in (2, K):
        pairs = [pair for group in completions for pair in combinations(group[:k], 2)]
        rows = [{"chosen_ids": chosen, "rejected_ids": rejected} for chosen, rejected in pairs]
        (models / f"pairs-{k}.json").write_text(json.dumps(rows))
    run_peer("1.16.0", "record_reward.py", models)
    return {k: load_file(models / f"pairs-{k}.safetensors") for k in (2, K)}


def ours(model: ScalarModel, groups: list[list[list[int]]]) -> tuple[Tensor, Tensor]:
    """Return the K-wise loss with its gradient in the model, and the rewards."""
    batch = pad([sequence for group in groups for sequence in group], 0)
    rewards = model.score(batch.input_ids_BT, batch.attention_mask_BT)
    pairs, prompts, start = [], [], 0
    for number, group in enumerate(groups):
        found = list(combinations(range(start, start + len(group)), 2))
        pairs, prompts, start = pairs + found, prompts + [number] * len(found), start + len(group)
    loss = kwise_loss_batch(rewards, torch.tensor(pairs), torch.tensor(prompts))
    loss.backward()
    return loss.detach(), rewards.detach()


@pytest.mark.parametrize("k", [2, K])
def test_loss_rewards_and_gradient(
    models: Path,
    completions: list[list[list[int]]],
    theirs: dict[int, dict[str, Tensor]],
    differences: Differences,
    k: int,
) -> None:
    peer = theirs[k]
    model = scalar_model(models / "reward")
    loss, rewards = ours(model, [group[:k] for group in completions])
    differences.check(f"reward loss, K = {k}", loss, peer["loss"], TIGHT)
    head = model.head.weight.grad
    assert head is not None
    differences.check(f"reward model's gradient, K = {k}", head, peer["gradient.score.weight"], TIGHT)
    for name, parameter in model.trunk.named_parameters():
        assert parameter.grad is not None
        differences.check(f"reward model's gradient, K = {k}", parameter.grad, peer[f"gradient.model.{name}"], TIGHT)
    passes = len(peer["rewards"])
    assert (len(rewards), passes) == (k * PROMPTS, k * (k - 1) * PROMPTS)


def test_prompts_of_unequal_k_weigh_the_same_in_ours_only() -> None:
    """The mean over prompts of TRL's mean over pairs; the pooled mean gives a prompt of K = 9 the weight of 36."""
    generator = torch.Generator().manual_seed(5)
    rewards = [torch.randn(k, generator=generator) for k in (2, 3, 9)]
    pairs = [list(combinations(range(len(each)), 2)) for each in rewards]
    by_prompt = [
        -torch.nn.functional.logsigmoid(torch.stack([each[a] - each[b] for a, b in own])).mean()
        for each, own in zip(rewards, pairs, strict=True)
    ]
    starts = [0, 2, 5]
    index = torch.tensor([(s + a, s + b) for s, own in zip(starts, pairs, strict=True) for a, b in own])
    prompt = torch.tensor([number for number, own in enumerate(pairs) for _ in own])
    batch = kwise_loss_batch(torch.cat(rewards), index, prompt)
    assert torch.allclose(batch, torch.stack(by_prompt).mean(), atol=1e-6)
    for each, own, loss in zip(rewards, pairs, by_prompt, strict=True):
        assert torch.allclose(kwise_loss(each, own), loss, atol=1e-6)
    pooled = sum(loss * len(own) for loss, own in zip(by_prompt, pairs, strict=True)) / sum(map(len, pairs))
    assert abs(float(batch - pooled)) > 0.01
