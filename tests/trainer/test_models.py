"""What a policy and a scalar model return does not depend on padding, saving or the mode they were left in."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from feedback import artifacts
from feedback.errors import ArtifactCorrupt, ArtifactMissing
from trainer.models import ScalarModel, last_positions, load_policy, load_tokenizer, position_ids, save_policy

IDS_1T = torch.tensor([[1, 7, 9, 11, 30, 31, 5, 2]])


def padded(ids_1T: torch.Tensor, before: int, after: int, pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    mask_1T = torch.nn.functional.pad(torch.ones_like(ids_1T), (before, after))
    return torch.nn.functional.pad(ids_1T, (before, after), value=pad_id), mask_1T


@pytest.fixture
def reward(tiny_policy_dir: Path) -> ScalarModel:
    torch.manual_seed(3)
    return ScalarModel.from_policy(tiny_policy_dir)


@pytest.mark.parametrize("before", [0, 7, 31])
@pytest.mark.parametrize("after", [0, 7, 31])
@torch.no_grad()
def test_reward_is_the_same_whatever_the_padding(reward: ScalarModel, before: int, after: int) -> None:
    alone = reward.score(IDS_1T, torch.ones_like(IDS_1T))
    assert torch.allclose(reward.score(*padded(IDS_1T, before, after)), alone, atol=1e-5)


@pytest.mark.parametrize(("before", "after"), [(5, 0), (0, 5), (3, 4)])
@torch.no_grad()
def test_logits_of_real_tokens_are_the_same_whatever_the_padding(
    tiny_policy_dir: Path, before: int, after: int
) -> None:
    policy = load_policy(tiny_policy_dir)
    ids, mask = padded(IDS_1T, before, after)
    alone = policy(input_ids=IDS_1T).logits
    with_padding = policy(input_ids=ids, attention_mask=mask, position_ids=position_ids(mask)).logits
    assert torch.allclose(with_padding[:, before : before + IDS_1T.shape[1]], alone, atol=1e-5)


def test_left_padding_gives_finite_gradients(reward: ScalarModel) -> None:
    reward.score(*padded(IDS_1T, 9, 2)).sum().backward()
    gradients = [parameter.grad for parameter in reward.parameters() if parameter.grad is not None]
    assert len(gradients) > 10
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_positions_count_real_tokens() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert position_ids(mask).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 2, 2]]


def test_last_real_token_equals_brute_force_on_any_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        length, before, after = (int(torch.randint(1, 9, (), generator=generator)) for _ in range(3))
        mask = torch.tensor([[0] * before + [1] * length + [0] * after])
        brute = max(index for index, real in enumerate(mask[0].tolist()) if real)
        assert last_positions(mask).tolist() == [brute]
    with pytest.raises(ValueError, match="without a single real token"):
        last_positions(torch.tensor([[0, 0], [0, 1]]))


def test_padding_that_is_also_a_token_of_the_prompt_moves_no_reward(reward: ScalarModel) -> None:
    ids = torch.tensor([[0, 7, 0, 11, 2]])  # the padding id inside the text
    with torch.no_grad():
        alone = reward.score(ids, torch.ones_like(ids))
        assert torch.allclose(reward.score(*padded(ids, 0, 6)), alone, atol=1e-5)


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


def test_dropout_is_off_unless_asked_for(tiny_policy_dir: Path) -> None:
    mask = torch.ones_like(IDS_1T)
    policy = load_policy(tiny_policy_dir).train()
    assert torch.equal(policy(input_ids=IDS_1T).logits, policy(input_ids=IDS_1T).logits)
    reward = ScalarModel.from_policy(tiny_policy_dir).train()
    assert torch.equal(reward(IDS_1T, mask), reward(IDS_1T, mask))
    dropped = load_policy(tiny_policy_dir, dropout=0.2).train()
    assert not torch.equal(dropped(input_ids=IDS_1T).logits, dropped(input_ids=IDS_1T).logits)
    dropped.eval()
    assert torch.equal(dropped(input_ids=IDS_1T).logits, load_policy(tiny_policy_dir)(input_ids=IDS_1T).logits)


@torch.no_grad()
def test_saved_policy_is_the_same_policy_with_its_manifest(tmp_path: Path, tiny_policy_dir: Path) -> None:
    policy, tokenizer = load_policy(tiny_policy_dir), load_tokenizer(tiny_policy_dir)
    save_policy(policy, tokenizer, tmp_path / "p")
    artifacts.verify(tmp_path / "p")
    assert torch.equal(load_policy(tmp_path / "p")(input_ids=IDS_1T).logits, policy(input_ids=IDS_1T).logits)
    names = {path.name for path in (tmp_path / "p").iterdir()}
    assert names >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "manifest.json"}


def test_absent_or_foreign_directory_is_refused(tmp_path: Path, tiny_policy_dir: Path) -> None:
    with pytest.raises(ArtifactMissing, match="no loadable model"):
        load_policy(tmp_path)
    with pytest.raises(ArtifactMissing, match="not a reward or value model"):
        ScalarModel.load(tiny_policy_dir)


def test_weights_that_lack_a_tensor_are_refused_instead_of_made_up(tmp_path: Path, tiny_policy_dir: Path) -> None:
    save_policy(load_policy(tiny_policy_dir), load_tokenizer(tiny_policy_dir), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactCorrupt, match=r"up_proj"):
        load_policy(tmp_path)


def test_torn_weights_are_refused(tmp_path: Path, tiny_policy_dir: Path) -> None:
    save_policy(load_policy(tiny_policy_dir), load_tokenizer(tiny_policy_dir), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ArtifactCorrupt, match="cannot be read"):
        load_policy(tmp_path)
