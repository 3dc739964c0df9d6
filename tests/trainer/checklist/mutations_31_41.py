"""Mutations of items 31 to 41: KL, reward models, and how sampler and trainer are compared."""

from tests.trainer.checklist.mutation import Mutation

# fmt: off
THIRD = [
    Mutation(
        31, "trainer.maths.advantages",
        "logprobs_BA.float() - ref_logprobs_BA.float(), 0.0)", "(logprobs_BA.float() - ref_logprobs_BA.float()).abs(), 0.0)",
        "the KL in the reward has lost its sign",
    ),
    Mutation(
        31, "trainer.maths.advantages",
        "logprobs_BA.float() - ref_logprobs_BA.float(), 0.0)",
        "(logprobs_BA.float() - ref_logprobs_BA.float()).clamp(-10, 10), 0.0)",
        "the KL in the reward is clamped at 10 nats",
    ),
    Mutation(
        31, "trainer.maths.advantages",
        "logprobs_BA.float() - ref_logprobs_BA.float(), 0.0)",
        "0.5 * (logprobs_BA.float() - ref_logprobs_BA.float()).square(), 0.0)",
        "k2 is in the reward",
    ),
    Mutation(
        31, "trainer.ppo.experience",
        '"objective/kl_negative": float(kl_B.mean().item() < 0)', '"objective/kl_negative": float(kl_B.max().item() < -9)',
        "a negative mean KL is not flagged",
    ),
    Mutation(
        32, "trainer.maths.kl_control",
        "most_error: float = 0.2,", "most_error: float = 1.0,",
        "the error is clipped at 1 instead of 0.2",
    ),
    Mutation(
        32, "trainer.maths.kl_control",
        "error * episodes / horizon", "error / horizon",
        "the horizon is in iterations instead of episodes",
    ),
    Mutation(
        32, "trainer.ppo.ppo",
        "episodes=settings.batch_size,\n            # Noise", "episodes=settings.minibatches,\n            # Noise",
        "the controller is told the wrong number of episodes",
    ),
    Mutation(
        33, "trainer.models.normalisation",
        "model.bias += mean", "model.bias -= mean",
        "the bias moves the wrong way",
    ),
    Mutation(
        33, "trainer.stages.reward",
        "        centre(model, zero_of, pad_id, settings.micro_batch_tokens)\n",
        "        if settings.policy:\n            centre(model, zero_of, pad_id, settings.micro_batch_tokens)\n",
        "a reward model trained from another keeps that one's zero point",
    ),
    Mutation(
        33, "trainer.models.scalar",
        '"bias": self.bias}', '"bias": torch.zeros(())}',
        "the bias is not stored",
    ),
    Mutation(
        34, "trainer.data.reading",
        "return ids[: limits.completion_tokens], False", "return ids[: limits.completion_tokens], finished",
        "a completion that was cut counts as finished",
    ),
    Mutation(
        34, "trainer.stages.reward",
        "for each in found if each.finished]", "for each in found]",
        "demonstrations that were cut set the zero point",
    ),
    Mutation(
        34, "trainer.maths.positions",
        "return torch.where(mask_BT, indices_T, -1).amax(dim=1)", "return torch.where(mask_BT, indices_T, -1).amax(dim=1) - 1",
        "the score is read one token before EOS",
    ),
    Mutation(
        34, "trainer.data.packed",
        "self.length_S - 1)", "self.length_S - 2)",
        "the score of a packed sequence is read one token before EOS",
    ),
    Mutation(
        35, "trainer.settings.stages",
        'epochs: int = Field(1, gt=0)\n    """Passes over the comparisons', 'epochs: int = Field(2, gt=0)\n    """Passes over the comparisons',
        "the reward model is trained for two epochs",
    ),
    Mutation(
        35, "trainer.data.partition",
        "valid = [group for group in rest if tuple(group.prompt_ids) not in prompts]", "valid = list(rest)",
        "prompts that are trained on are also held out",
    ),
    Mutation(
        35, "trainer.data.partition",
        'split == "train" and group.labeler_group not in HELD_OUT_LABELERS', 'split == "train"',
        "held-out labelers are trained on",
    ),
    Mutation(
        35, "trainer.data.partition",
        "held_out(group.messages, group.customer, valid_fraction)", "held_out(group.messages, None, valid_fraction)",
        "one customer's prompts are on both sides",
    ),
    Mutation(
        36, "trainer.maths.losses",
        "return counts[inverse_P].float().reciprocal(), len(counts)",
        "return torch.full((len(prompt_P),), len(counts) / len(prompt_P)), len(counts)",
        "every pair weighs the same instead of every prompt",
    ),
    Mutation(
        36, "trainer.maths.losses",
        "return counts[inverse_P].float().reciprocal(), len(counts)",
        "return counts.double().mean().reciprocal().float().expand(len(prompt_P)), len(counts)",
        "the divisor is the mean number of pairs",
    ),
    Mutation(
        36, "trainer.data.packed",
        "(columns_T <= columns_T[:, None])", "(columns_T >= 0)[None]",
        "packed completions see what comes after",
    ),
    Mutation(
        36, "trainer.stages.kwise",
        "weight * len(mine) / len(groups))", "weight)",
        "each micro-batch of prompts weighs as much as a whole batch",
    ),
    Mutation(
        37, "trainer.maths.losses",
        "losses_P = -F.logsigmoid(gaps_P)",
        "losses_P = -torch.log(torch.sigmoid(gaps_P))",
        "the loss is log(sigmoid)",
    ),
    Mutation(
        37, "trainer.maths.losses",
        "losses_P = -F.logsigmoid(gaps_P)",
        "losses_P = torch.log(1 + torch.exp(-gaps_P))",
        "the loss is log(1 + exp)",
    ),
    Mutation(
        38, "trainer.data.tokens",
        '            "chat template": tokenizer.chat_template,\n', "",
        "chat templates are not compared",
    ),
    Mutation(
        38, "trainer.data.tokens",
        '"vocabulary": tokenizer.get_vocab(),', '"vocabulary": tokenizer.vocab_size,',
        "vocabularies are compared by size without added tokens",
    ),
    Mutation(
        38, "trainer.ppo.job",
        "(settings.reference, settings.reward, settings.value", "(settings.reference, settings.value",
        "the reward model's tokenizer is not looked at",
    ),
    Mutation(
        39, "trainer.ppo.experience",
        "gap_N = (trainer_N - sampler_N).abs()", "gap_N = trainer_N - sampler_N",
        "differences of opposite sign cancel",
    ),
    Mutation(
        39, "trainer.ppo.experience",
        "kl_k3(sampler_N, trainer_N)", "kl_k3(trainer_N, sampler_N)",
        "k3 is that of the other direction",
    ),
    Mutation(
        39, "trainer.ppo.experience",
        "max(1, int(0.99 * len(gap_N)))", "max(1, int(0.9 * len(gap_N)))",
        "the percentile is the 90th",
    ),
    Mutation(
        39, "trainer.ppo.guards",
        "if gap > limits.max_sampler_gap", "if gap > 10 * limits.max_sampler_gap",
        "the alarm is ten times too patient",
    ),
    Mutation(
        40, "trainer.ppo.experience",
        "weights_BA.clamp(max=settings.importance_cap)", "weights_BA",
        "the weight is not truncated",
    ),
    Mutation(
        40, "trainer.ppo.experience",
        "torch.where(mask_BA, logprobs_BA - sampler_logprobs_BA, 0.0).exp()",
        "torch.where(mask_BA, sampler_logprobs_BA - logprobs_BA, 0.0).exp()",
        "the weight is the other way up",
    ),
    Mutation(
        40, "trainer.ppo.experience",
        "weights_BA.clamp(max=settings.importance_cap)", "weights_BA.clamp(1 / settings.importance_cap, 1.0)",
        "the weight may lessen but not add",
    ),
    Mutation(
        41, "trainer.rollouts.vllm_sampler",
        "                ignore_eos=False,\n", "                ignore_eos=False,\n                top_p=0.9,\n",
        "vLLM is asked for top-p 0.9",
    ),
    Mutation(
        41, "trainer.rollouts.vllm_sampler",
        'generation_config="vllm"', 'generation_config="auto"',
        "vLLM takes over the model directory's top-p",
    ),
    Mutation(
        41, "trainer.rollouts.transformers_sampler",
        "    logprobs_BV = torch.log_softmax(logits_BV.float() / (temperature or 1.0), -1)\n",
        "    top_B1 = logits_BV.topk(3).values[:, -1:]\n"
        "    logits_BV = logits_BV.masked_fill(logits_BV < top_B1, -torch.inf)\n"
        "    logprobs_BV = torch.log_softmax(logits_BV.float() / (temperature or 1.0), -1)\n",
        "the own sampler keeps the three likeliest tokens",
    ),
    Mutation(
        41, "trainer.settings.ppo",
        "    whiten_rewards: bool = False\n", "    whiten_rewards: bool = False\n    top_p: float = 1.0\n",
        "there is a setting for top-p",
    ),
]
