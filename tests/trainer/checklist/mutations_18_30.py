"""Mutations of items 18 to 30: whitening, losses, models, optimizers, the pretraining term and the average."""

from tests.trainer.checklist.mutation import Mutation

# fmt: off
SECOND = [
    Mutation(
        18, "trainer.maths.advantages",
        "variance = add(centred_BA.double().square().sum()) / count",
        "variance = add(centred_BA.double().square().sum()) / (count - 1)",
        "the variance is the unbiased one",
    ),
    Mutation(
        18, "trainer.maths.advantages",
        "mean = add(entries_BA.double().sum()) / count", "mean = entries_BA.double().sum() / keep_BA.sum()",
        "the mean is that of one process",
    ),
    Mutation(
        18, "trainer.maths.advantages",
        "count = add(keep_BA.sum().double()).clamp(min=1)",
        "count = add(torch.tensor(float(keep_BA.numel()))).clamp(min=1)",
        "padding is counted",
    ),
    Mutation(
        19, "trainer.maths.advantages",
        "        scaled_BA = scaled_BA + mean.float()\n", "        scaled_BA = scaled_BA + 0 * mean.float()\n",
        "the mean is lost",
    ),
    Mutation(
        19, "trainer.ppo.experience",
        "rewards_BA = whiten(rewards_BA, mask_BA, shift_mean=False)", "rewards_BA = whiten(rewards_BA, mask_BA)",
        "PPO moves the mean of the rewards to 0",
    ),
    Mutation(
        20, "trainer.ppo.step",
        "mask_BA, clip=settings.clip, tokens=actions", "mask_BA, clip=settings.clip, tokens=mask_BA.sum()",
        "the policy loss is a mean per micro-batch",
    ),
    Mutation(
        20, "trainer.ppo.step",
        "            clip=settings.value_clip,\n            tokens=actions,\n",
        "            clip=settings.value_clip,\n",
        "the value loss is a mean per micro-batch",
    ),
    Mutation(
        20, "trainer.ppo.step",
        "torch.ones_like(logprobs_N), tokens)", "torch.ones_like(logprobs_N), len(logprobs_N))",
        "the pretraining loss is a mean per micro-batch",
    ),
    Mutation(
        21, "trainer.maths.losses",
        "near_BT = values_BT.clamp(old_BT - clip, old_BT + clip)",
        "near_BT = values_BT.clamp(returns_BT - clip, returns_BT + clip)",
        "the value is clipped around the return",
    ),
    Mutation(
        21, "trainer.maths.losses",
        "loss = 0.5 * _masked_sum(torch.maximum(plain_BT, clipped_BT), mask_BT)",
        "loss = 0.5 * _masked_sum(torch.minimum(plain_BT, clipped_BT), mask_BT)",
        "the smaller of the two errors is taken",
    ),
    Mutation(
        21, "trainer.maths.losses",
        "loss = 0.5 * _masked_sum(torch.maximum(plain_BT, clipped_BT), mask_BT)",
        "loss = _masked_sum(torch.maximum(plain_BT, clipped_BT), mask_BT)",
        "the factor 0.5 is missing",
    ),
    Mutation(
        22, "trainer.ppo.job",
        "return reward, ScalarModel.load(start, device=device)",
        "return reward, ScalarModel.from_policy(settings.policy, device=device)",
        "the value model begins with a fresh head on the policy",
    ),
    Mutation(
        22, "trainer.models.scalar",
        "std=1.0 / math.sqrt(width + 1)", "std=1.0 / math.sqrt(width)",
        "a fresh head has deviation 1/sqrt(h)",
    ),
    Mutation(
        22, "trainer.models.scalar",
        "nn.init.zeros_(self.head.bias)", "pass",
        "a fresh head has a random bias",
    ),
    Mutation(
        23, "trainer.ppo.job",
        "    reward, value = _scalar_models(settings, device, needs_reward_model)\n",
        "    reward, value = _scalar_models(settings, device, needs_reward_model)\n    value.trunk = policy.base_model\n",
        "the value head sits on the policy's trunk",
    ),
    Mutation(
        23, "trainer.ppo.job",
        "return reward, ScalarModel.load(start, device=device)", "return reward, (reward or ScalarModel.load(start)).requires_grad_()",
        "the value model is the reward model itself",
    ),
    Mutation(
        24, "trainer.models.policies",
        'setattr(config, key, dropout if key == "resid_pdrop" else 0.0)', "pass",
        "dropout that a configuration file asks for stays on",
    ),
    Mutation(
        24, "trainer.models.policies",
        "return F.dropout(output, dropout, training=module.training)", "return F.dropout(output, dropout, training=False)",
        "SFT has no dropout",
    ),
    Mutation(
        24, "trainer.models.policies",
        "return F.dropout(output, dropout, training=module.training)",
        "return F.dropout(output, dropout / 2, training=module.training)",
        "SFT drops half of what is configured",
    ),
    Mutation(
        25, "trainer.running.optimization",
        "betas=(settings.beta1, settings.beta2)", "betas=(settings.beta2, settings.beta1)",
        "the betas are exchanged",
    ),
    Mutation(
        25, "trainer.running.optimization",
        "        eps=settings.adam_eps,\n", "",
        "epsilon stays at torch's 1e-8",
    ),
    Mutation(
        25, "trainer.settings.stages",
        "beta2: float = Field(0.95,", "beta2: float = Field(0.999,",
        "the default second beta is torch's",
    ),
    Mutation(
        26, "trainer.ppo.step",
        "return clip_gradient(parameters, max_norm).cpu()", "return _norm(parameters)",
        "PPO measures the norm and does not clip",
    ),
    Mutation(
        26, "trainer.ppo.step",
        '        metrics["ppo/grad_norm/ptx"] = _norm(policy_parameters)\n        _add(policy_parameters, ppo_gradients)\n'
        '    metrics["ppo/grad_norm/policy"] = _clip(policy_parameters, settings.max_grad_norm)\n',
        '        metrics["ppo/grad_norm/ptx"] = _norm(policy_parameters)\n        _clip(policy_parameters, settings.max_grad_norm)\n'
        '        _add(policy_parameters, ppo_gradients)\n    metrics["ppo/grad_norm/policy"] = _norm(policy_parameters)\n',
        "only the pretraining gradient is clipped, before PPO's is added",
    ),
    Mutation(
        26, "trainer.running.optimization",
        "clip_gradient(parameters, max_grad_norm if max_grad_norm > 0 else math.inf)", "clip_gradient(parameters, math.inf)",
        "the supervised stages do not clip",
    ),
    Mutation(
        26, "trainer.maths.shards",
        "(max_norm / (norm + 1e-6)).clamp(max=1.0)", "(max_norm / (norm.square() + 1e-6)).clamp(max=1.0)",
        "gradients are scaled by the norm's square",
    ),
    Mutation(
        27, "trainer.ppo.step",
        "return peak * (0.1 + 0.9 * iteration / warmup_iterations)",
        "return peak * (0.1 + 0.9 * (iteration + 1) / warmup_iterations)",
        "the warm-up is one iteration early",
    ),
    Mutation(
        27, "trainer.ppo.step",
        "return peak * (0.1 + 0.9 * iteration / warmup_iterations)", "return peak * iteration / warmup_iterations",
        "the warm-up begins at 0",
    ),
    Mutation(
        27, "trainer.ppo.ppo",
        "        set_lr(job.learner.policy_optimizer, lr)\n", "",
        "the rate is logged but not set",
    ),
    Mutation(
        28, "trainer.ppo.step",
        "            parameter.grad += gradient", "            parameter.grad = gradient",
        "PPO's gradient takes the place of the pretraining one",
    ),
    Mutation(
        28, "trainer.ppo.step",
        "(weight * coef * loss).backward()", "(weight * loss).backward()",
        "the coefficient is missing",
    ),
    Mutation(
        28, "trainer.ppo.step",
        "        world.sum_gradients(policy_parameters)\n",
        "        world.sum_gradients(policy_parameters)\n        learner.policy_optimizer.step()\n",
        "the pretraining gradient takes a step of its own as well",
    ),
    Mutation(
        28, "trainer.settings.ppo",
        "return round(self.ptx_per_episode * self.batch_size / self.minibatches)",
        "return round(self.ptx_per_episode * self.minibatches)",
        "pretraining examples are counted per minibatch instead of per episode",
    ),
    Mutation(
        29, "trainer.ppo.job",
        'self.text.cursor = found.state["text_cursor"]', "self.text.cursor = 0",
        "a restart begins the text again",
    ),
    Mutation(
        29, "trainer.data.text",
        "generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)",
        "generator = torch.Generator(); generator.seed()",
        "the order of the text is drawn anew in every process",
    ),
    Mutation(
        29, "trainer.data.text",
        "self._order = torch.randperm(len(self), generator=generator).tolist()",
        "self._order = torch.randint(len(self), (len(self),), generator=generator).tolist()",
        "blocks are drawn with replacement",
    ),
    Mutation(
        30, "trainer.models.ema",
        "present, 1.0 - self._decay)", "present, self._decay)",
        "the weights of past and present are exchanged",
    ),
    Mutation(
        30, "trainer.models.ema",
        "p.detach().float().clone() for name", "p.detach().clone() for name",
        "the average has the model's dtype",
    ),
    Mutation(
        30, "trainer.ppo.updates",
        "        job.bad_steps.good()\n", "        job.bad_steps.good()\n        job.average.update(job.learner.policy)\n",
        "the average moves at every minibatch as well",
    ),
    Mutation(
        30, "trainer.ppo.job",
        "        self.average.copy_to(self.learner.policy)\n", "",
        "the last weights are published instead of the average",
    ),
]
