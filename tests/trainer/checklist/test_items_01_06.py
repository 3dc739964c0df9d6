"""Items 1 to 6: which tokens count, and where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from feedback.errors import ConfigError
from tests.trainer.checklist.tiny import BOS, EOS, PAD, PROMPTS, absolute_policy, demonstration, rollout_of
from trainer.data.batches import pad
from trainer.data.reading import encode_completion
from trainer.maths.logprobs import token_logprobs
from trainer.models.actions import action_positions, logprobs_at
from trainer.models.normalisation import score_sequences
from trainer.models.policies import load_policy, load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import score_rollout
from trainer.rollouts.rollout import pack_rollout
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.stages import sft
from trainer.stages.sft import demonstration_loss


def test_item_01_padding_is_not_eos(tiny_policy_dir: Path, tmp_path: Path) -> None:
    """EOS carries loss and mask 1, padding neither; a tokenizer or sampler that cannot tell them apart is refused."""
    batch = pad([[BOS, 10, 20, 21, EOS], [BOS, 11, EOS]], PAD, [2, 2])
    assert batch.target_mask_BT.tolist() == [[0, 0, 1, 1, 1], [0, 0, 1, 0, 0]]
    rollout = rollout_of([[20, 21, EOS], [22, EOS], [EOS]])
    assert rollout.action_mask_BA.tolist() == [[True] * 3, [True, True, False], [True, False, False]]
    assert rollout.finished_B.all()
    tokenizer = load_tokenizer(tiny_policy_dir)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="padding and EOS are the same token"):
        load_tokenizer(tmp_path)
    for token in range(0, 320, 5):
        with pytest.raises(ValueError, match="pad and EOS are both"):
            pack_rollout([[BOS]], [[token]], [[-1.0]], eos_id=token, pad_id=token, policy_version=0)


def test_item_02_eos_is_trained_on(tiny_policy_dir: Path) -> None:
    """After overfitting 8 demonstrations, greedy decoding stops in all 8, at the right place."""
    tokenizer, policy = load_tokenizer(tiny_policy_dir), load_policy(tiny_policy_dir)
    answers = ["red", "green", "the fox", "in the wood", "by night", "berries", "the old owl", "blue"]
    demonstrations = [
        demonstration([BOS, 30 + n, 40 + n], encode_completion(tokenizer, text)) for n, text in enumerate(answers)
    ]
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    for _ in range(40):
        demonstration_loss(policy, demonstrations, PAD).backward()
        optimizer.step()
        optimizer.zero_grad()
    sampler = TransformersSampler(policy, eos_id=EOS, pad_id=PAD, max_completion_tokens=24, temperature=0.0)
    rollout = sampler.sample([each.prompt_ids for each in demonstrations], seed=0)
    assert rollout.finished_B.tolist() == [True] * 8
    assert tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True) == answers


@torch.no_grad()
def test_item_03_sft_loss_masks_prompt_and_padding(tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels in the prompt or in padding, and more padding, leave the loss where it was."""
    policy = load_policy(tiny_policy_dir)
    some = [demonstration([BOS, 10, 11, 12], [20, 21, EOS]), demonstration([BOS, 13], [EOS])]
    loss = float(demonstration_loss(policy, some, PAD))
    longer = demonstration([BOS, *[30] * 20], [31, EOS])
    alone, both = (float(demonstration_loss(policy, each, PAD, tokens=1.0)) for each in ([longer], [*some, longer]))
    assert both - alone == pytest.approx(4 * loss, rel=1e-6)
    real = token_logprobs(policy, torch.tensor([[BOS, 10, 11, 12, 20, 21, EOS]]), torch.ones(1, 7))
    short = token_logprobs(policy, torch.tensor([[BOS, 13, EOS]]), torch.ones(1, 3))
    assert loss == pytest.approx(-float(real[0, 4:].sum() + short[0, 2]) / 4, rel=1e-5)

    def other_labels(*given: object) -> torch.Tensor:
        logprobs_BT = token_logprobs(*given)  # type: ignore[arg-type]
        logprobs_BT[0, :4], logprobs_BT[1, :2], logprobs_BT[1, 3:] = -50.0, -60.0, torch.nan
        return logprobs_BT

    monkeypatch.setattr(sft, "token_logprobs", other_labels)
    assert float(demonstration_loss(policy, some, PAD)) == loss


@torch.no_grad()
def test_item_04_padding_on_either_side_moves_nothing(tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    """A sequence scores the same with 0, 7 and 31 paddings on each side; a short prompt is continued as if alone."""
    model, sequence = ScalarModel.load(tiny_reward_dir), [BOS, *range(20, 30), EOS]
    for paddings in (0, 7, 31):
        other = list(range(40, 40 + len(sequence) + paddings))
        for left in (False, True):
            batch = pad([sequence, other], PAD, left=left)
            score = model.score(batch.input_ids_BT, batch.attention_mask_BT)[0]
            alone = model.score(torch.tensor([sequence]), torch.ones(1, len(sequence)))[0]
            assert float(score) == pytest.approx(float(alone), abs=1e-5), (paddings, left)
    policy = load_policy(tiny_policy_dir)
    sampler = TransformersSampler(policy, eos_id=EOS, pad_id=PAD, max_completion_tokens=12, temperature=0.0)
    together = sampler.sample(PROMPTS, seed=0).completions()
    assert together == [sampler.sample([prompt], seed=0).completions()[0] for prompt in PROMPTS]


@torch.no_grad()
def test_item_05_positions_count_real_tokens_in_sampling_and_training_alike() -> None:
    """With absolute positions: padding changes no log-probability, and sampler and trainer agree on every token."""
    policy, sequence = absolute_policy(), [BOS, *range(20, 30), EOS]
    alone = token_logprobs(policy, torch.tensor([sequence]), torch.ones(1, 12))[0, 1:]
    for paddings in (1, 7, 31):
        for left in (False, True):
            batch = pad([sequence, list(range(40, 52 + paddings))], PAD, left=left)
            logprobs = token_logprobs(policy, batch.input_ids_BT, batch.attention_mask_BT)[0]
            start = paddings if left else 0
            assert torch.allclose(logprobs[start + 1 : start + 12], alone, atol=1e-5), (paddings, left)
    sampler = TransformersSampler(policy, eos_id=EOS, pad_id=PAD, max_completion_tokens=10)
    rollout = sampler.sample(PROMPTS, seed=4)
    mask_BA = rollout.action_mask_BA
    positions = action_positions(rollout.input_ids_BT, rollout.prompt_tokens_B, mask_BA)
    trainer_N = logprobs_at(policy, rollout.input_ids_BT, positions, temperature=1.0)
    assert torch.allclose(rollout.sampler_logprobs_BA[mask_BA], trainer_N, atol=1e-5)
    mask_BT = torch.arange(rollout.input_ids_BT.shape[1]) < rollout.lengths_B[:, None]
    logprobs_BT = token_logprobs(policy, rollout.input_ids_BT, mask_BT.long())
    assert torch.allclose(logprobs_BT[positions.row_N, positions.column_N + 1], trainer_N, atol=1e-5)


def test_item_06_the_end_is_searched_after_the_prompt(tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    """A padding token inside the prompt, or before it, does not move the place that the reward is read at."""
    reward, policy = ScalarModel.load(tiny_reward_dir), load_policy(tiny_policy_dir)
    prompts = [[BOS, PAD, 30, PAD, 40], [PAD, PAD, 50], [BOS, 60, 61]]
    completions = [[20, 21, EOS], [22, PAD, 23, 24, 25], [EOS]]
    given = [[-1.0] * len(tokens) for tokens in completions]
    rollout = pack_rollout(prompts, completions, given, eos_id=EOS, pad_id=PAD, policy_version=0)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=reward, temperature=1.0, micro_batch_tokens=999
    )
    sequences = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
    with torch.no_grad():
        truth = [float(reward(torch.tensor([each]), torch.ones(1, len(each)))[0, -1]) for each in sequences]
    assert scored.scores_B is not None
    assert scored.scores_B.tolist() == pytest.approx(truth, abs=1e-5)
    assert score_sequences(reward, sequences, PAD) == pytest.approx(truth, abs=1e-5)
    left = pad(sequences, PAD, left=True)
    with torch.no_grad():
        scores_B = reward.score(left.input_ids_BT, left.attention_mask_BT)
    assert scores_B.tolist() == pytest.approx(truth, abs=1e-5)
