"""What a policy and a scalar model return does not depend on padding, saving or the mode they were left in."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from feedback import artifacts
from feedback.errors import ArtifactCorrupt, ArtifactMissing
from trainer.maths.positions import position_ids
from trainer.models.policies import load_policy, load_tokenizer, save_policy
from trainer.models.scalar import ScalarModel

IDS_1T = torch.tensor([[1, 7, 9, 11, 30, 31, 5, 2]])


def padded(ids_1T: torch.Tensor, before: int, after: int, pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    mask_1T = torch.nn.functional.pad(torch.ones_like(ids_1T), (before, after))
    return torch.nn.functional.pad(ids_1T, (before, after), value=pad_id), mask_1T


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
