"""What a policy and a scalar model return does not depend on padding, saving or the mode they were left in."""

import math
from pathlib import Path

import pytest
import torch

from feedback import artifacts
from trainer.data.packed import Packed
from trainer.models.scalar import ScalarModel

IDS_1T = torch.tensor([[1, 7, 9, 11, 30, 31, 5, 2]])


@pytest.fixture
def reward(tiny_policy_dir: Path) -> ScalarModel:
    torch.manual_seed(3)
    return ScalarModel.from_policy(tiny_policy_dir)


def padded(ids_1T: torch.Tensor, before: int, after: int, pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    mask_1T = torch.nn.functional.pad(torch.ones_like(ids_1T), (before, after))
    return torch.nn.functional.pad(ids_1T, (before, after), value=pad_id), mask_1T


@pytest.mark.parametrize("before", [0, 7, 31])
@pytest.mark.parametrize("after", [0, 7, 31])
@torch.no_grad()
def test_reward_is_the_same_whatever_the_padding(reward: ScalarModel, before: int, after: int) -> None:
    alone = reward.score(IDS_1T, torch.ones_like(IDS_1T))
    assert torch.allclose(reward.score(*padded(IDS_1T, before, after)), alone, atol=1e-5)


def test_left_padding_gives_finite_gradients(reward: ScalarModel) -> None:
    reward.score(*padded(IDS_1T, 9, 2)).sum().backward()
    gradients = [parameter.grad for parameter in reward.parameters() if parameter.grad is not None]
    assert len(gradients) > 10
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_padding_that_is_also_a_token_of_the_prompt_moves_no_reward(reward: ScalarModel) -> None:
    ids = torch.tensor([[0, 7, 0, 11, 2]])  # the padding id inside the text
    with torch.no_grad():
        alone = reward.score(ids, torch.ones_like(ids))
        assert torch.allclose(reward.score(*padded(ids, 0, 6)), alone, atol=1e-5)


@torch.no_grad()
def test_packed_sequences_score_as_padded_ones(reward: ScalarModel) -> None:
    reward.bias += 0.7
    prompt, completions = [1, 7, 9], [[11, 2], [30, 31, 5, 2]]
    found = reward.score_packed(Packed.of_groups([prompt], [completions]))
    alone = [reward.score(ids, torch.ones_like(ids)) for ids in (torch.tensor([prompt + each]) for each in completions)]
    assert torch.allclose(found, torch.cat(alone), atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert reward.score_packed(Packed.of_sequences([prompt])).dtype == torch.float32


@torch.no_grad()
def test_values_are_the_rewards_of_every_prefix(reward: ScalarModel) -> None:
    values = reward(IDS_1T, torch.ones_like(IDS_1T))
    for stop in range(1, IDS_1T.shape[1] + 1):
        prefix = IDS_1T[:, :stop]
        assert torch.allclose(values[:, stop - 1], reward.score(prefix, torch.ones_like(prefix)), atol=1e-5)


def test_fresh_head_has_the_published_spread(tiny_policy_dir: Path) -> None:
    torch.manual_seed(0)
    models = [ScalarModel.from_policy(tiny_policy_dir) for _ in range(20)]
    width = models[0].trunk.config.hidden_size
    spread = torch.cat([model.head.weight.detach().flatten() for model in models]).std()
    assert abs(float(spread) * math.sqrt(width + 1) - 1) < 0.05
    assert all(float(model.head.bias.detach()) == 0.0 for model in models)


@torch.no_grad()
def test_bias_is_subtracted_and_saved_with_the_model(tmp_path: Path, reward: ScalarModel) -> None:
    mask = torch.ones_like(IDS_1T)
    before = reward.score(IDS_1T, mask)
    reward.bias += 1.5
    assert torch.allclose(reward.score(IDS_1T, mask), before - 1.5)
    reward.save(tmp_path / "rm")
    artifacts.verify(tmp_path / "rm")
    assert torch.equal(ScalarModel.load(tmp_path / "rm").score(IDS_1T, mask), reward.score(IDS_1T, mask))
    assert {path.suffix for path in (tmp_path / "rm").iterdir()} == {".json", ".safetensors"}


@torch.no_grad()
def test_reward_in_bfloat16_stays_near_float32(tiny_policy_dir: Path) -> None:
    torch.manual_seed(0)
    exact = ScalarModel.from_policy(tiny_policy_dir)
    torch.manual_seed(0)
    rough = ScalarModel.from_policy(tiny_policy_dir, dtype=torch.bfloat16)
    mask = torch.ones_like(IDS_1T)
    rewards = rough.score(IDS_1T, mask)
    assert rewards.dtype == torch.float32
    assert torch.allclose(rewards, exact.score(IDS_1T, mask), atol=5e-2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert exact.score(IDS_1T, mask).dtype == torch.float32
