"""Rewards of many sequences, and the zero point: a reward model's bias makes demonstrations score 0 on average.

Knows a scalar model and sequences; does not know where they come from.

Dimension letters: B batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainer.data.batches import by_tokens, by_total, pad
from trainer.models.ensemble import RewardEnsemble, members_of
from trainer.models.packing import Packed, can_pack
from trainer.models.scalar import ScalarModel


@torch.no_grad()
def score_sequences(
    model: ScalarModel | RewardEnsemble,
    sequences: Sequence[Sequence[int]],
    pad_id: int,
    micro_batch_tokens: int = 16384,
) -> list[float]:
    """Return the reward of each sequence (prompt and completion), in the order given.

    Args:
        model: reward model or ensemble.
        sequences: token ids; the reward is read at each one's last token, so it should end in EOS.
        pad_id: fills short rows.
        micro_batch_tokens: most tokens, padding included, in one forward pass.
    """
    if isinstance(model, RewardEnsemble):
        own = [score_sequences(member, sequences, pad_id, micro_batch_tokens) for member in members_of(model)]
        return _combined(model, own)
    device = model.head.weight.device
    scores = [0.0] * len(sequences)
    for rows in by_tokens([len(sequence) for sequence in sequences], micro_batch_tokens):
        batch = pad([sequences[row] for row in rows], pad_id).to(device)
        rewards_B = model.score(batch.input_ids_BT, batch.attention_mask_BT)
        for row, reward in zip(rows, rewards_B.tolist(), strict=True):
            scores[row] = reward
    return scores


@torch.no_grad()
def score_groups(
    model: ScalarModel | RewardEnsemble,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
    pad_id: int,
    micro_batch_tokens: int = 16384,
) -> list[float]:
    """Return the reward of every completion of every prompt, in order; a prompt is run once for all of its own.

    Args:
        model: reward model or ensemble.
        prompts: token ids.
        completions: token ids of each prompt's completions, which should end in EOS.
        pad_id: fills short rows where the architecture cannot be packed.
        micro_batch_tokens: most tokens in one forward pass.
    """
    if isinstance(model, RewardEnsemble):
        members = members_of(model)
        return _combined(
            model, [score_groups(each, prompts, completions, pad_id, micro_batch_tokens) for each in members]
        )
    if not can_pack(model.trunk):
        sequences = [[*prompt, *each] for prompt, own in zip(prompts, completions, strict=True) for each in own]
        return score_sequences(model, sequences, pad_id, micro_batch_tokens)
    scores: list[list[float]] = [[] for _ in prompts]
    tokens = [len(prompt) + sum(map(len, own)) for prompt, own in zip(prompts, completions, strict=True)]
    for rows in by_total(tokens, micro_batch_tokens):
        theirs = [completions[row] for row in rows]
        packed = Packed.of_groups([prompts[row] for row in rows], theirs, model.head.weight.device)
        rewards = iter(model.score_packed(packed).tolist())
        for row in rows:
            scores[row] = [next(rewards) for _ in completions[row]]
    return [score for own in scores for score in own]


def _combined(model: RewardEnsemble, own: Sequence[Sequence[float]]) -> list[float]:
    """Return the ensemble's scores from each member's."""
    return [float(score) for score in model.combine(torch.tensor(own, device=model.factors_M.device))[0]]


def centre(
    model: ScalarModel, sequences: Sequence[Sequence[int]], pad_id: int, micro_batch_tokens: int = 16384
) -> float:
    """Move the model's bias so that these sequences average 0; return how far it moved.

    Raises:
        ValueError: there is no sequence.

    Source: Ouyang et al. 2022, arXiv:2203.02155, section 3.5: "we normalize the reward model using a bias so that
    the labeler demonstrations achieve a mean score of 0 before doing RL".
    """
    if not sequences:
        raise ValueError("the zero point needs at least one sequence")
    scores = score_sequences(model, sequences, pad_id, micro_batch_tokens)
    mean = sum(scores) / len(scores)
    model.bias += mean
    return mean
