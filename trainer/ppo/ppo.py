"""PPO-ptx: the order of the steps of one iteration, and of the run.

Follows Ouyang et al. 2022 (arXiv:2203.02155), section 3.5 and appendix C.4: bandit reward at the end, per-token KL to
the policy that RL starts from, a separate value model begun as the reward model, 512 episodes in 8 minibatches, one
inner epoch, clip 0.2, no discount, warm-up over 10 iterations, pretraining gradients accumulated into the same
optimizer step with coefficient 27.8 and 8 examples an episode, weights averaged with 0.992, temperature 1.

Departures and gaps filled, by number:
 1. GAE lambda is unpublished; 0.95 and the whitening of advantages (biased variance, over the whole batch) are from
    the 2019 code (openai/lm-human-preferences), as are the value clip and its factor 0.5.
 2. Adam's epsilon is unpublished; 1e-5 as in the 2019 code. Weight decay is 0.
 3. Gradients are clipped at norm 1, once, after the pretraining gradient has been added. Unpublished.
 4. Both terms of eq. 2 are means per token: the PPO term per action, the pretraining term per predicted token. The
    paper does not say how sequence log-likelihoods are normalised.
 5. Values do not share a loss with the policy: with a model and an optimizer of its own, a value coefficient would
    have no effect under Adam, so there is none.
 6. A pretraining example is a block of fixed length packed from documents.
 7. The trainer recomputes the log-probabilities of the sampled tokens; where the sampler's differ, a truncated
    importance weight corrects each token. It is 1 when they agree.
 8. A score without EOS can be replaced or lessened (off by default). 9. The KL coefficient can follow a target (off).
10. Weights and arithmetic are float32, or bfloat16 autocast over float32 weights, where the paper used float16.
11. The average of the weights is exported, as in the paper; it begins at the initial policy without debiasing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from feedback.errors import Diverged, StageFailed
from trainer.data.reading import Message
from trainer.maths.kl_control import next_kl_coef
from trainer.ppo.experience import make_experience, score_rollout
from trainer.ppo.job import PpoJob, build_job, input_files
from trainer.ppo.step import minibatch_step, shuffled_minibatches, warmed_up
from trainer.rollouts.rollout import Rollout
from trainer.running.optimization import set_lr
from trainer.running.progress import Progress
from trainer.running.run import Run, open_run
from trainer.settings.ppo import PpoSettings

RewardFunction = Callable[[Sequence[list[Message]], Sequence[str], Sequence[bool]], Sequence[float]]
"""Scores of completions from prompts' messages, completions' texts and whether each ended with EOS."""

_SHOWN_FIRST = ("objective/scores", "objective/kl", "ppo/ptx/loss", "episode/eos_rate", "episode/length_tokens")
"""What a progress line has room for."""


def run_ppo(settings: PpoSettings, *, reward_fn: RewardFunction | None = None) -> dict[str, Any]:
    """Train a policy and publish it: weights, tokenizer, ``value/`` and ``metrics.json`` in the output directory.

    An interrupted run goes on from its newest checkpoint, and ends in the same bits. A run that a guard stops
    publishes its newest good checkpoint and says so under ``stopped`` in the metrics.

    Args:
        settings: what to train and how.
        reward_fn: scores completions instead of the reward model, such as a known rule.

    Returns:
        The metrics: ``iterations``, ``episodes``, ``first`` and ``last`` iteration's figures, ``stopped`` (None, or
        reason and iterations).

    Raises:
        Diverged: a guard stopped the run before there was a good checkpoint.
        WhetstoneError: an input is missing, unusable or does not fit the others.
    """
    with open_run("ppo", settings, input_files(settings)) as this:
        job = build_job(settings, this.device, needs_reward_model=reward_fn is None)
        try:
            stopped = _train(this, job, settings, reward_fn)
            job.export(this.directory)
        finally:
            job.sampler.close()
        return this.finish(
            {
                "iterations": job.iteration,
                "episodes": job.iteration * settings.batch_size,
                "stopped": stopped,
                "first": job.first_metrics,
                "last": job.last_metrics,
                "prompts": job.counts.as_metrics(),
            }
        )


def run(settings: PpoSettings) -> dict[str, Any]:
    """The stage: ``run_ppo`` with the reward model."""
    return run_ppo(settings)


def iterate(job: PpoJob, settings: PpoSettings, reward_fn: RewardFunction | None = None) -> dict[str, float]:
    """Sample, score and learn from one batch of episodes; return the iteration's metrics.

    Raises:
        Diverged: a gradient is not finite.
        StageFailed: the sampler answered with other weights than the policy's.
    """
    began_s = time.perf_counter()
    prompts = job.next_prompts(settings)
    job.sampler.push(job.learner.policy, job.iteration)
    with torch.autocast(job.device.type, torch.bfloat16, enabled=settings.bf16):
        rollout = job.sampler.sample([p.prompt_ids for p in prompts], seed=settings.seed * 1_000_003 + job.iteration)
        if rollout.policy_version != job.iteration:
            raise StageFailed(f"sampler answered with version {rollout.policy_version}, pushed was {job.iteration}")
        sampled_s = time.perf_counter()
        rollout = rollout.to(job.device)
        scored = score_rollout(
            rollout,
            policy=job.learner.policy,
            reference=job.reference,
            value=job.learner.value,
            reward=None if reward_fn else job.reward,
            temperature=settings.temperature,
            micro_batch_tokens=settings.micro_batch_tokens,
        )
        if reward_fn is None:
            assert scored.scores_B is not None
            scores_B = scored.scores_B
        else:
            scores_B = _rule_scores(reward_fn, [p.messages for p in prompts], rollout, job)
        experience, metrics = make_experience(rollout, scored, scores_B, settings, kl_coef=job.kl_coef)
        scored_s = time.perf_counter()
        lr = warmed_up(settings.lr, job.iteration, settings.warmup_iterations)
        set_lr(job.learner.policy_optimizer, lr)
        steps: list[dict[str, Tensor]] = []
        for epoch in range(settings.inner_epochs):
            seed = (settings.seed * 1_000_003 + job.iteration) * 1009 + epoch
            for rows_B in shuffled_minibatches(settings.batch_size, settings.minibatches, seed):
                steps.append(
                    minibatch_step(job.learner, experience, rows_B.to(job.device), job.next_text(settings), settings)
                )
    job.average.update(job.learner.policy)
    job.iteration += 1
    if settings.kl_target_nats:
        job.kl_coef = next_kl_coef(
            job.kl_coef,
            metrics["objective/kl"],
            target_nats=settings.kl_target_nats,
            horizon=settings.kl_horizon,
            episodes=settings.batch_size,
        )
    metrics |= _step_metrics(steps) | {"lr": lr}
    metrics = {name: metrics[name] for name in _SHOWN_FIRST if name in metrics} | metrics
    return metrics | {
        "time/sample_s": sampled_s - began_s,
        "time/score_s": scored_s - sampled_s,
        "time/learn_s": time.perf_counter() - scored_s,
    }


def _train(this: Run, job: PpoJob, settings: PpoSettings, reward_fn: RewardFunction | None) -> dict[str, Any] | None:
    """Iterate to the end, or to a guard's stop; return what stopped the run, the job being at its last good state."""
    job.resume(this)
    with Progress("ppo", settings.iterations, this.directory, start=job.iteration) as progress:
        while job.iteration < settings.iterations:
            try:
                metrics = iterate(job, settings, reward_fn)
                reason = job.guards.check(metrics)
            except Diverged as error:
                reason = str(error)
            if reason:
                return _fall_back(this, job, reason)
            job.record(metrics)
            progress.update(job.iteration, metrics)
            due = settings.checkpoint_every and job.iteration % settings.checkpoint_every == 0
            if due and job.guards.healthy and job.iteration < settings.iterations:
                job.save(this)
    return None


def _fall_back(this: Run, job: PpoJob, reason: str) -> dict[str, Any]:
    """Put the job back to its newest checkpoint; all of them were taken while no rule was broken."""
    at = job.iteration
    if not job.resume(this):
        raise Diverged(f"ppo stopped at iteration {at}: {reason}; there is no earlier checkpoint to publish")
    return {"reason": reason, "iteration": at, "published_iteration": job.iteration}


def _rule_scores(reward_fn: RewardFunction, messages: Sequence[list[Message]], rollout: Rollout, job: PpoJob) -> Tensor:
    texts = job.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
    scores = reward_fn(messages, texts, rollout.finished_B.tolist())
    if len(scores) != len(texts):
        raise StageFailed(f"the reward function gave {len(scores)} scores for {len(texts)} completions")
    return torch.tensor([float(score) for score in scores], device=job.device)


def _step_metrics(steps: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Means over the iteration's optimizer steps; the log ratio of the first one, which must be 0, by itself."""
    names = [name for name in steps[0] if name != "val/max_log_ratio"]
    means = {name: torch.stack([step[name] for step in steps]).mean().item() for name in names}
    return means | {
        "val/first_max_log_ratio": steps[0]["val/max_log_ratio"].item(),
        "ppo/optimizer_steps": float(len(steps)),
    }
