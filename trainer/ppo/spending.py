"""What KL a finished run has spent: on this release, and on the whole chain of them.

Knows the published policy, the one that the run started from and the reference; does not know the budget's rules
(`trainer.ppo.guards`) or the coefficient that aims at it (`trainer.maths.kl_control`).
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from trainer.models.policies import load_policy
from trainer.ppo.experience import score_rollout
from trainer.ppo.job import PpoJob
from trainer.settings.ppo import PpoSettings

_SEED = 0x5BE17
"""Of the completions that the KL is measured on: none of a training iteration's."""


@torch.no_grad()
def spent(job: PpoJob, settings: PpoSettings) -> dict[str, float | None]:
    """KL of the published policy, sampled from itself on one batch of prompts.

    Args:
        job: after ``export``, so that its learner's policy holds the published weights.
        settings: say where the run started from and what it is measured to.

    Returns:
        ``kl_to_reference_nats``, what all releases since the reference have spent together, ``kl_to_parent_nats``, what
        this one has (both means over episodes of k1, in nats an episode), and ``kl_budget_nats`` or None.
    """
    prompts = job.next_prompts(settings)
    job.sampler.push(job.learner.policy, job.iteration)
    with torch.autocast(job.device.type, torch.bfloat16, enabled=settings.bf16):
        rollout = job.sample([prompt.prompt_ids for prompt in prompts], seed=settings.seed + _SEED).to(job.device)

        def kl_to(other: PreTrainedModel) -> float:
            scored = score_rollout(
                rollout,
                policy=job.learner.policy,
                reference=other,
                value=None,
                reward=None,
                temperature=settings.temperature,
                micro_batch_tokens=settings.micro_batch_tokens,
                world=job.world,
            )
            return (scored.logprobs_BA - scored.ref_logprobs_BA).sum(1).mean().item()

        to_reference = kl_to(job.reference)
        started_apart = settings.reference is not None and settings.reference.resolve() != settings.policy.resolve()
        to_parent = kl_to(load_policy(settings.policy, device=job.device)) if started_apart else to_reference
    return {
        "kl_to_reference_nats": to_reference,
        "kl_to_parent_nats": to_parent,
        "kl_budget_nats": settings.kl_budget_nats or None,
    }
