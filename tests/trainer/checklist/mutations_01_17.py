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
        "            attention_mask=attention_mask_BT,\n", "",
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
        "position_ids = (mask_B.cumsum(1) - 1).clamp(min=0)", "position_ids = mask_B.cumsum(1)",
        "the sampler's positions begin at 1",
    ),
    Mutation(
        5, "trainer.rollouts.transformers_sampler",
        "position_B = mask_B.sum(1)", "position_B = torch.full_like(running_B.long(), ids_BP.shape[1])",
        "after the prompt the sampler's positions count padding",
    ),
    Mutation(
        6, "trainer.ppo.experience",
        "real_BT = torch.arange(width, device=ids_BT.device) < lengths_B[rows][:, None]", "real_BT = part_BT != 0",
        "the end is found by counting tokens that are not padding",
    ),
    Mutation(
        6, "trainer.maths.positions",
        "return torch.where(mask_BT, indices_T, -1).amax(dim=1)",
        "return (mask_BT.long() * 2 - indices_T.sign()).argmin(dim=1) - 1",
        "the end is the first padding of the row",
    ),
]
