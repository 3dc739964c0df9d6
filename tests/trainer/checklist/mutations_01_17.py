"""Mutations of items 1 to 17: tokens, rewards, log-probabilities and advantages."""

# fmt: off

from tests.trainer.checklist.mutation import Mutation

FIRST = [
    Mutation(
        1, "trainer.data.tokens",
        "if tokenizer.pad_token_id == tokenizer.eos_token_id:", "if tokenizer.pad_token_id is None:",
        "a tokenizer whose padding is EOS is accepted",
    ),
    Mutation(
        1, "trainer.rollouts.rollout",
        "if pad_id == eos_id:", "if pad_id == eos_id == 0:",
        "a sampler whose padding is EOS is accepted",
    ),
    Mutation(
        1, "trainer.rollouts.rollout",
        "return columns_A < self.completion_tokens_B[:, None]",
        "return columns_A < (self.completion_tokens_B - self.finished_B.long())[:, None]",
        "the EOS action is masked as if it were padding",
    ),
    Mutation(
        2, "trainer.data.reading",
        "return [*ids, int(tokenizer.eos_token_id)] if finished else list(ids)",
        "return list(ids)",
        "demonstrations are encoded without EOS",
    ),
    Mutation(
        2, "trainer.data.batches",
        "+ [1] * (len(sequence) - prompt) + [0] * after)",
        "+ [1] * (len(sequence) - prompt - 1) + [0] * (after + 1))",
        "the last token of a completion carries no loss",
    ),
    Mutation(
        3, "trainer.data.batches",
        "targets.append([0] * (before + prompt)", "targets.append([0] * before + [1] * prompt",
        "prompt tokens carry loss",
    ),
    Mutation(
        3, "trainer.data.batches",
        "(len(sequence) - prompt) + [0] * after)", "(len(sequence) - prompt) + [1] * after)",
        "padding carries loss",
    ),
    Mutation(
        3, "trainer.data.batches",
        "targets.append([0] * (before + prompt) + [1] * (len(sequence) - prompt)",
        "targets.append([0] * (before + prompt - 1) + [1] * (len(sequence) - prompt + 1)",
        "the mask is one token early",
    ),
    Mutation(
        4, "trainer.maths.positions",
        "return torch.where(mask_BT, indices_T, -1).amax(dim=1)", "return mask_BT.sum(dim=1) - 1",
        "the last token is counted from the left edge",
    ),
    Mutation(
        4, "trainer.models.scalar",
        "            attention_mask=attention_mask_BT,\n", "            attention_mask=torch.ones_like(attention_mask_BT),\n",
        "the reward model attends to padding",
    ),
    Mutation(
        4, "trainer.rollouts.transformers_sampler",
        "ids_BP[row, width - len(prompt) :] = torch.tensor(prompt)",
        "ids_BP[row, : len(prompt)] = torch.tensor(prompt)",
        "prompts are padded on the right for generation",
    ),
    Mutation(
        5, "trainer.maths.positions",
        "return (attention_mask_BT.long().cumsum(dim=1) - 1).clamp(min=0)",
        "return torch.arange(attention_mask_BT.shape[1]).expand_as(attention_mask_BT)",
        "positions count padding",
    ),
    Mutation(
        5, "trainer.rollouts.transformers_sampler",
        "position_BQ, position_B = (mask_BP.cumsum(1) - 1).clamp(min=0), mask", "position_BQ, position_B = mask_BP.cumsum(1), mask",
        "the sampler's positions begin at 1",
    ),
    Mutation(
        5, "trainer.rollouts.transformers_sampler",
        ".clamp(min=0), mask_BP.sum(1)", ".clamp(min=0), torch.full_like(mask_BP[:, 0], ids_BQ.shape[1])",
        "after the prompt the sampler's positions count padding",
    ),
    Mutation(
        6, "trainer.ppo.experience",
        "lengths_B - 1, lengths_B)  # nothing", "(ids_BT != 0).sum(1) - 1, lengths_B)  # nothing",
        "the end is found by counting tokens that are not padding",
    ),
    Mutation(
        6, "trainer.maths.positions",
        "return torch.where(mask_BT, indices_T, -1).amax(dim=1)",
        "return (mask_BT.long() * 2 - indices_T.sign()).argmin(dim=1) - 1",
        "the end is the first padding of the row",
    ),
    Mutation(
        7, "trainer.maths.advantages",
        "rewards_BA[rows_B, lengths_B - 1] += scores_B.float()",
        "rewards_BA[rows_B, lengths_B.clamp(max=mask_BA.shape[1] - 1)] += scores_B.float()",
        "the score is paid one slot after EOS",
    ),
    Mutation(
        7, "trainer.maths.advantages",
        "rewards_BA[rows_B, lengths_B - 1] += scores_B.float()", "rewards_BA += scores_B.float()[:, None] * mask_BA",
        "the score is paid on every action",
    ),
    Mutation(
        7, "trainer.models.actions",
        "column_N = prompt_tokens_B[row_N] - 1 + action_N\n    return Positions(row_N, column_N, input_ids_BT[row_N, column_N + 1])",
        "column_N = prompt_tokens_B[row_N] + action_N\n    return Positions(row_N, column_N, input_ids_BT[row_N, column_N])",
        "the value is read after the action instead of before it",
    ),
    Mutation(
        8, "trainer.rollouts.rollout",
        "kept[: kept.index(eos_id) + 1]", "kept[: len(kept) - kept[::-1].index(eos_id)]",
        "the cut is at the last EOS instead of the first",
    ),
    Mutation(
        8, "trainer.maths.advantages",
        "return torch.where(finished_B, scores_B, torch.full_like(scores_B, penalty))",
        "return torch.where(finished_B, scores_B, scores_B + penalty)",
        "'replace' adds the penalty to the score",
    ),
    Mutation(
        8, "trainer.maths.advantages",
        "return torch.where(finished_B, scores_B, scores_B - penalty)", "return scores_B - penalty",
        "'subtract' also punishes completions that ended",
    ),
    Mutation(
        8, "trainer.rollouts.rollout",
        "finished_B=torch.tensor([c[-1] == eos_id for c in cut])", "finished_B=torch.tensor([len(c) < actions for c in cut])",
        "'finished' means shorter than the longest",
    ),
    Mutation(
        9, "trainer.rollouts.rollout",
        "[*lp[: len(c)], ", "[*lp[len(lp) - len(c) :], ",
        "the log-probabilities kept are those of the tail",
    ),
    Mutation(
        9, "trainer.rollouts.rollout",
        "completion_tokens_B=torch.tensor([len(c) for c in cut])",
        "completion_tokens_B=torch.tensor([max(len(c) for c in cut) for _ in cut])",
        "the cut tail is not masked",
    ),
    Mutation(
        10, "trainer.ppo.job",
        "reference=reference,", "reference=policy,",
        "the reference is the policy itself",
    ),
    Mutation(
        10, "trainer.maths.advantages",
        "kl_BA = torch.where(mask_BA.bool(), logprobs_BA.float() - ref_logprobs_BA.float(), 0.0)",
        "kl_BA = logprobs_BA.float() - ref_logprobs_BA.float()",
        "the KL of padding is counted",
    ),
    Mutation(
        11, "trainer.ppo.experience",
        "logprobs_at(reference, part_BT, positions, temperature=temperature, packed=row)",
        "logprobs_at(reference, part_BT, positions, temperature=1.0, packed=row)",
        "the reference is read at temperature 1",
    ),
    Mutation(
        11, "trainer.ppo.step",
        "logprobs_at(learner.policy, ids_BT, positions, temperature=settings.temperature, packed=row)",
        "logprobs_at(learner.policy, ids_BT, positions, temperature=1.0, packed=row)",
        "the new log-probabilities are read at temperature 1",
    ),
    Mutation(
        11, "trainer.models.actions",
        "logits_NV if temperature == 1.0 else logits_NV / temperature",
        "logits_NV if temperature == 1.0 else logits_NV * temperature",
        "logits are multiplied by the temperature",
    ),
    Mutation(
        12, "trainer.ppo.experience",
        "old_logprobs_BA=scored.logprobs_BA,", "old_logprobs_BA=rollout.sampler_logprobs_BA,",
        "the old log-probabilities are the sampler's",
    ),
    Mutation(
        12, "trainer.ppo.experience",
        "old_logprobs_BA=scored.logprobs_BA,", "old_logprobs_BA=scored.ref_logprobs_BA,",
        "the old log-probabilities are the reference's",
    ),
    Mutation(
        13, "trainer.ppo.updates",
        "for epoch in range(settings.inner_epochs):", "for epoch in range(1):",
        "only one inner epoch is run",
    ),
    Mutation(
        13, "trainer.ppo.step",
        "batch_size // minibatches)", "batch_size)",
        "the whole batch makes one step",
    ),
    Mutation(
        13, "trainer.ppo.step",
        "    learner.value_optimizer.step()\n",
        "    if text is None:\n        learner.value_optimizer.step()\n",
        "the value model steps only where there is no pretraining text",
    ),
    Mutation(
        14, "trainer.ppo.experience",
        "(scored.entropies_BA.sum() / actions).item()", "scored.entropies_BA.mean().item()",
        "the entropy is averaged over padding too",
    ),
    Mutation(
        14, "trainer.ppo.step",
        '"val/ratio": log_ratio_N.exp().sum() / actions', '"val/ratio": log_ratio_N.exp().sum() / experience.mask_BA.sum()',
        "the ratio is divided by the batch's actions, hence by the number of minibatches",
    ),
    Mutation(
        15, "trainer.maths.advantages",
        "    values_BA = torch.where(keep_BA, values_BA.float(), 0.0)\n", "    values_BA = values_BA.float()\n",
        "values of padding are not masked before the estimate",
    ),
    Mutation(
        15, "trainer.maths.advantages",
        "    rewards_BA = torch.where(keep_BA, rewards_BA.float(), 0.0)\n", "    rewards_BA = rewards_BA.float()\n",
        "rewards of padding are carried into the actions",
    ),
    Mutation(
        15, "trainer.maths.advantages",
        "    advantages_BA = torch.where(keep_BA, advantages_BA, 0.0)\n", "    advantages_BA = advantages_BA + 1 - keep_BA.float()\n",
        "padding has advantages",
    ),
    Mutation(
        16, "trainer.maths.advantages",
        "torch.nn.functional.pad(values_BA[:, 1:], (0, 1))", "torch.cat([values_BA[:, 1:], values_BA[:, -1:]], 1)",
        "the last value is bootstrapped from itself",
    ),
    Mutation(
        17, "trainer.maths.advantages",
        "carried_B = deltas_BA[:, column] + gamma * lam * carried_B", "carried_B = deltas_BA[:, column] + gamma * carried_B",
        "lambda is ignored",
    ),
    Mutation(
        17, "trainer.settings.ppo",
        "gamma: float = Field(1.0,", "gamma: float = Field(0.99,",
        "the default discounts",
    ),
    Mutation(
        17, "trainer.ppo.experience",
        "lam=settings.gae_lambda", "lam=0.95",
        "the configured lambda does not reach the estimate",
    ),
]
