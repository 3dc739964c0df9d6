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

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from feedback.errors import Diverged, StageFailed
from trainer.data.reading import Message
from trainer.maths.kl_control import BUDGET_ERROR, next_kl_coef
from trainer.ppo.experience import make_experience, score_rollout
from trainer.ppo.guards import surely_over
from trainer.ppo.job import PpoJob, build_job, input_files
from trainer.ppo.reward_curve import RewardFunction
from trainer.ppo.spending import spent
from trainer.ppo.step import warmed_up
from trainer.ppo.updates import spoilt, take_steps
from trainer.rollouts.rollout import Rollout
from trainer.running.allocation import keep_freed_memory
from trainer.running.optimization import set_lr
from trainer.running.progress import Progress
from trainer.running.run import Run, open_run
from trainer.settings.ppo import PpoSettings

_Rules = tuple[RewardFunction | None, RewardFunction | None]
"""What scores instead of the reward model, and instead of the held-out one."""


def run_ppo(
    settings: PpoSettings, *, reward_fn: RewardFunction | None = None, held_out_fn: RewardFunction | None = None
) -> dict[str, Any]:
    """Train a policy and publish it: weights, tokenizer, ``value/`` and ``metrics.json`` in the output directory.

    An interrupted run goes on from its newest checkpoint, and ends in the same bits. A run that a guard stops
    publishes its newest good checkpoint and says so under ``stopped`` in the metrics.

    Args:
        settings: what to train and how.
        reward_fn: scores completions instead of the reward model, such as a known rule.
        held_out_fn: scores them for the over-optimisation curve only, instead of the held-out reward model.

    Returns:
        The metrics: ``iterations``, ``episodes``, ``first`` and ``last`` iteration's figures, ``stopped`` (None, or
        reason and iterations), ``skipped_steps``, and what KL the published policy has spent (`trainer.ppo.spending`),
        and ``reward_curve`` (`trainer.ppo.reward_curve`).

    Raises:
        Diverged: a guard stopped the run before there was a good checkpoint.
        WhetstoneError: an input is missing, unusable or does not fit the others.
    """
    keep_freed_memory()
    with open_run("ppo", settings, input_files(settings)) as this:
        job = build_job(
            settings,
            this.device,
            needs_reward_model=reward_fn is None,
            directory=this.own_directory,
            world=this.world,
        )
        try:
            stopped = _train(this, job, settings, (reward_fn, held_out_fn))
            job.export(this.directory)
            spending = spent(job, settings)
            if this.world.main:
                job.curve.write(this.directory)
        finally:
            job.sampler.close()
        return this.finish(
            {
                "iterations": job.iteration,
                "episodes": job.iteration * settings.batch_size,
                "stopped": stopped,
                "skipped_steps": job.bad_steps.skipped,
                **spending,
                "reward_curve": job.curve.report(),
                "first": job.first_metrics,
                "last": job.last_metrics,
                "prompts": job.counts.as_metrics(),
            }
        )


def run(settings: PpoSettings) -> dict[str, Any]:
    """The stage: ``run_ppo`` with the reward model."""
    return run_ppo(settings)


def iterate(
    job: PpoJob,
    settings: PpoSettings,
    reward_fn: RewardFunction | None = None,
    held_out_fn: RewardFunction | None = None,
) -> dict[str, float]:
    """Sample, score and learn from one batch of episodes; return the iteration's metrics.

    Steps whose numbers are not finite are skipped and counted (`trainer.ppo.updates`); where the scored batch itself
    holds such a number, all of them are.

    Raises:
        StageFailed: the sampler answered with other weights than the policy's.
    """
    began_s = time.perf_counter()
    prompts = job.next_prompts(settings)
    job.sampler.push(job.learner.policy, job.iteration)
    with torch.autocast(job.device.type, torch.bfloat16, enabled=settings.bf16):
        rollout = job.sample([p.prompt_ids for p in prompts], seed=settings.seed * 1_000_003 + job.iteration)
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
            world=job.world,
            packed=settings.packed,
        )
        if reward_fn is None:
            assert scored.scores_B is not None
            scores_B = scored.scores_B
        else:
            scores_B = _rule_scores(reward_fn, [p.messages for p in prompts], rollout, job)
        held_out = _held_out_scores(held_out_fn, [p.messages for p in prompts], rollout, job, settings)
        experience, metrics = make_experience(rollout, scored, scores_B, settings, kl_coef=job.kl_coef)
        scored_s = time.perf_counter()
        ids = [prompt.id for prompt in prompts]
        reason, rows = spoilt(metrics, [scores_B, scored.logprobs_BA, scored.ref_logprobs_BA, scored.values_BA], ids)
        lr = warmed_up(settings.lr, job.iteration, settings.warmup_iterations) * job.bad_steps.lr_scale
        set_lr(job.learner.policy_optimizer, lr)
        set_lr(job.learner.value_optimizer, settings.value_lr * job.bad_steps.lr_scale)
        if reason:
            job.bad_steps.bad(job.iteration, reason, rows)
            metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        else:
            metrics |= job.curve.add(job.iteration, metrics, held_out) if held_out else {}
            metrics |= job.monitors.look(rollout.completions(), scores_B.tolist(), held_out)
            metrics |= take_steps(job, experience, ids, settings)
            job.average.update(job.learner.policy)
    job.iteration += 1
    if settings.wanted_kl_nats and "objective/kl" in metrics:
        job.kl_coef = next_kl_coef(
            job.kl_coef,
            metrics["objective/kl"],
            target_nats=settings.wanted_kl_nats,
            horizon=settings.kl_horizon,
            episodes=settings.batch_size,
            # Noise must not push harder up than down: only an excess beyond doubt is answered with full force.
            most_error=BUDGET_ERROR
            if settings.kl_budget_nats and surely_over(metrics, settings.kl_budget_nats)
            else 0.2,
            least=settings.kl_coef if settings.kl_budget_nats else 0.0,
        )
    return metrics | {
        "lr": lr,
        "skipped_steps": float(job.bad_steps.skipped),
        "episodes": float(job.iteration * settings.batch_size),
        "time/sample_s": sampled_s - began_s,
        "time/score_s": scored_s - sampled_s,
        "time/learn_s": time.perf_counter() - scored_s,
    }


@dataclass(frozen=True)
class _Stop:
    """Why a run cannot go on, and before which iteration its weights were good; whether a lower rate may help."""

    reason: str
    good_before: int
    may_go_back: bool = False


def _train(this: Run, job: PpoJob, settings: PpoSettings, rules: _Rules) -> dict[str, Any] | None:
    """Iterate to the end, or to a guard's stop; return what stopped the run, the job being at its last good state."""
    job.resume(this)
    job.bad_steps.forget_after(job.iteration)
    while (stop := _walk(this, job, settings, rules)) is not None:
        stopped_at = job.iteration
        if not job.resume(this, good_only=True, before=_good_before(this, job, stop)):
            reason = f"ppo stopped at iteration {stopped_at}: {stop.reason}"
            raise Diverged(f"{reason}; there is no earlier checkpoint that was measured to be good")
        if not stop.may_go_back:
            return {"reason": stop.reason, "iteration": stopped_at, "published_iteration": job.iteration}
        job.bad_steps.go_back(job.bad_steps.state_dict())
    return None


def _good_before(this: Run, job: PpoJob, stop: _Stop) -> int:
    """The iteration before which the newest good checkpoint is good by its own measurement, made an iteration later."""
    before = stop.good_before
    while (path := this.latest_checkpoint(good_only=True, before=before)) is not None:
        step = int(path.name.removeprefix("step-"))
        if not job.guards.measured_sick(step):
            break
        before = step
    return before


def _walk(this: Run, job: PpoJob, settings: PpoSettings, rules: _Rules) -> _Stop | None:
    """Iterate until the end or a stop, writing checkpoints; those of sick iterations are marked as such."""
    bar = Progress("ppo", settings.iterations, this.own_directory, start=job.iteration, stream=this.stream,
                   tensorboard=settings.tensorboard)  # fmt: skip
    with bar as progress, this.stop.after_steps():
        while job.iteration < settings.iterations:
            metrics = iterate(job, settings, *rules)
            verdict = job.guards.check(metrics, job.iteration - 1) if "objective/kl" in metrics else None
            metrics |= job.guards.alarms()
            job.record(metrics)
            progress.update(job.iteration, metrics)
            if too_many := job.bad_steps.verdict:
                again = job.bad_steps.attempt == 0
                return _Stop(too_many, job.bad_steps.since + again, may_go_back=again)
            if verdict:
                return _Stop(verdict, job.iteration)
            stopping, every = this.stopping, settings.checkpoint_every
            if stopping or (every and (job.iteration % every == 0 or job.iteration == settings.iterations)):
                job.save(this)
            if stopping:
                this.stop.now(f"after iteration {job.iteration} of {settings.iterations}")
    job.bad_steps.require_one_good()
    return None


def _held_out_scores(
    held_out_fn: RewardFunction | None,
    messages: Sequence[list[Message]],
    rollout: Rollout,
    job: PpoJob,
    settings: PpoSettings,
) -> list[float]:
    """Scores by the judge that nothing is trained on; none without one."""
    if held_out_fn is not None:
        return _rule_scores(held_out_fn, messages, rollout, job).tolist()
    if job.curve.judge is not None:
        return job.curve.scores(rollout, int(job.tokenizer.pad_token_id), settings.micro_batch_tokens)
    return []


def _rule_scores(reward_fn: RewardFunction, messages: Sequence[list[Message]], rollout: Rollout, job: PpoJob) -> Tensor:
    texts = job.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
    scores = job.world.broadcast_object(
        reward_fn(messages, texts, rollout.finished_B.tolist()) if job.world.main else None
    )
    if len(scores) != len(texts):
        raise StageFailed(f"the reward function gave {len(scores)} scores for {len(texts)} completions")
    return torch.tensor([float(score) for score in scores], device=job.device)
