"""Mutations of items 42 to 50: pushes, order, resumption, precision, and what a run watches."""

from tests.trainer.checklist.mutation import Mutation

# fmt: off
FOURTH = [
    Mutation(
        42, "trainer.rollouts.vllm_sampler",
        'logprobs_mode="processed_logprobs"', 'logprobs_mode="raw_logprobs"',
        "vLLM is asked for log-probabilities before temperature",
    ),
    Mutation(
        42, "trainer.rollouts.vllm_sampler",
        "        if token not in entry:\n", "        if token not in entry:\n            found.append(0.0)\n            continue\n"
        "        if token not in entry:\n",
        "a missing log-probability becomes 0",
    ),
    Mutation(
        42, "trainer.rollouts.rollout",
        "if not tokens or len(row_logprobs) < len(tokens):", "if not tokens:",
        "a rollout may lack log-probabilities",
    ),
    Mutation(
        43, "trainer.rollouts.engine_worker",
        "if found != expected:", "if found.keys() != expected.keys():",
        "checksums are not compared",
    ),
    Mutation(
        43, "trainer.rollouts.vllm_sampler",
        "if not self._engine.reset_prefix_cache():", "if self._engine.reset_prefix_cache() is None:",
        "a prefix cache that was not cleared is accepted",
    ),
    Mutation(
        43, "trainer.ppo.ppo",
        "if rollout.policy_version != job.iteration:", "if rollout.policy_version > job.iteration:",
        "answers of an older version are accepted",
    ),
    Mutation(
        43, "trainer.rollouts.engine_worker",
        "        self.reload_weights(weights_path=directory)\n", "",
        "pushed weights are verified but not loaded",
    ),
    Mutation(
        43, "trainer.rollouts.vllm_sampler",
        "if said != {str(version)}:", "if not said:",
        "the engine's own word on the version is not compared",
    ),
    Mutation(
        44, "trainer.rollouts.rollout",
        "    if before != after:\n", "    if before > after:\n",
        "newer weights pushed in the middle of sampling are accepted",
    ),
    Mutation(
        44, "trainer.rollouts.transformers_sampler",
        "policy_version=require_one_version(version, self._version)", "policy_version=version",
        "the own sampler tags a mixed rollout with the older version",
    ),
    Mutation(
        44, "trainer.rollouts.vllm_sampler",
        "policy_version=require_one_version(version, self._version)", "policy_version=self._version",
        "the vLLM sampler tags a mixed rollout with the newer version",
    ),
    Mutation(
        45, "trainer.ppo.updates",
        "* 1009 + epoch", "* 1009",
        "every inner epoch has the same order",
    ),
    Mutation(
        45, "trainer.ppo.step",
        "torch.randperm(batch_size, generator=generator)", "torch.randint(batch_size, (batch_size,), generator=generator)",
        "episodes are drawn with replacement",
    ),
    Mutation(
        45, "trainer.data.batches",
        "for start in range(0, self.rows, self.batch_size)]",
        "for start in range(0, self.rows - self.batch_size + 1, self.batch_size)]",
        "the last, smaller batch is dropped",
    ),
    Mutation(
        46, "trainer.running.randomness",
        'torch.set_rng_state(state["torch"])', "pass",
        "torch's generator is not put back",
    ),
    Mutation(
        46, "trainer.ppo.job",
        'self.iteration, self.kl_coef = found.step, found.state["kl_coef"]', "self.iteration = found.step",
        "the KL coefficient is not put back",
    ),
    Mutation(
        46, "trainer.running.checkpoint",
        'optimizer.load_state_dict(saved["optimizers"][name])', "pass",
        "Adam's moments are not put back",
    ),
    Mutation(
        46, "trainer.stages.sft",
        'self.order.cursor = int(state["batches"])', 'self.order.cursor = int(state["batches"]) - 1',
        "a restarted epoch repeats a batch",
    ),
    Mutation(
        47, "trainer.models.actions",
        "logits_NV = logits_NV.float()", "logits_NV = logits_NV + 0",
        "the softmax is taken in the model's precision",
    ),
    Mutation(
        47, "trainer.models.scalar",
        "with torch.autocast(hidden.device.type, enabled=False):", "with torch.no_grad():",
        "the scalar head is in bfloat16 under autocast",
    ),
    Mutation(
        47, "trainer.maths.advantages",
        "    values_BA = torch.where(keep_BA, values_BA.float(), 0.0)\n",
        "    values_BA, rewards_BA = torch.where(keep_BA, values_BA, 0.0), rewards_BA.to(values_BA.dtype)\n",
        "advantages are in the precision of the values",
    ),
    Mutation(
        48, "trainer.maths.pair_report",
        '            [length for prompt in judged for length in prompt.lengths],\n',
        '            [float(n) for prompt in judged for n, _ in enumerate(prompt.lengths)],\n',
        "rewards are correlated with positions instead of lengths",
    ),
    Mutation(
        48, "trainer.maths.pair_report",
        "longer = _gaps(prompt.lengths, prompt.pairs)", "longer = _gaps(prompt.rewards, prompt.pairs)",
        "the length bias is that of the rewards themselves",
    ),
    Mutation(
        48, "trainer.stages.evaluation",
        "rank_correlation(lengths, scores)", "rank_correlation(sorted(lengths), sorted(scores))",
        "lengths and scores of rollouts are sorted apart",
    ),
    Mutation(
        49, "trainer.ppo.guards",
        "if kl > limits.max_kl_nats", "if kl > 10 * limits.max_kl_nats",
        "the KL limit is ten times as high",
    ),
    Mutation(
        49, "trainer.settings.guards",
        "BUDGET_STOP = 1.5", "BUDGET_STOP = 2.0",
        "the budget is enforced at twice instead of 1.5 times",
    ),
    Mutation(
        49, "trainer.ppo.guards",
        "if entropy < floor", "if entropy > 1 / (floor + 1e-9)",
        "a collapse of the entropy passes",
    ),
    Mutation(
        49, "trainer.ppo.guards",
        "if start - eos > limits.max_eos_drop or (eos == 0 and start >= _NOT_NOTHING)", "if eos - start > limits.max_eos_drop",
        "a fall of the EOS rate passes",
    ),
    Mutation(
        49, "trainer.ppo.guards",
        "if empty > limits.max_empty_share", "if empty > 1",
        "empty completions pass",
    ),
    Mutation(
        49, "trainer.ppo.guards",
        "if not math.isfinite(value):", "if value == math.inf:",
        "NaN is not looked for",
    ),
    Mutation(
        49, "trainer.ppo.ppo",
        "if not job.guards.measured_sick(step):", "if step >= 0:",
        "weights that measured badly are published",
    ),
    Mutation(
        50, "trainer.maths.overoptimisation",
        "d = [math.sqrt(max(kl, 0.0)) for kl in kl_nats]", "d = [max(kl, 0.0) for kl in kl_nats]",
        "the curve is fitted in KL instead of its root",
    ),
    Mutation(
        50, "trainer.maths.overoptimisation",
        "exponent = 2 * (alpha / beta - 1)", "exponent = alpha / beta - 1",
        "the peak is that of the root",
    ),
    Mutation(
        50, "trainer.maths.overoptimisation",
        "lost = averages[best] - averages[-1]", "lost = averages[0] - averages[-1]",
        "a fall is measured from the start instead of the peak",
    ),
    Mutation(
        50, "trainer.maths.overoptimisation",
        "if lost <= least * math.sqrt(2.0) or lost == 0:", "if lost == 0:",
        "noise counts as a fall",
    ),
    Mutation(
        50, "trainer.ppo.guards",
        "if fall > limits.max_held_out_fall", "if fall > 100",
        "a fall of the held-out score passes",
    ),
    Mutation(
        50, "trainer.ppo.reward_curve",
        "found = turnover([point[3] for point in self._points])", "found = turnover([point[2] for point in self._points])",
        "the turn is looked for in the proxy's scores",
    ),
]
