"""Limits of a healthy PPO run.

Knows every limit, its unit and where it comes from; does not know how the figures are measured (`trainer.ppo`).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

BUDGET_STOP = 1.5
"""A run stops when it measures this many times its KL budget, or its KL limit of one iteration."""


class GuardSettings(BaseModel):
    """Limits of a healthy run; a rule must be broken ``guard_patience`` iterations in a row, the KL budget once."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_kl_nats: float = Field(100.0, gt=0)
    """Largest mean KL of an episode to the reference, in nats."""
    kl_budget_nats: float = Field(0.0, ge=0)
    """Mean KL of an episode to the reference that this policy may spend: the coefficient aims at it (as at
    `kl_target_nats`), and the run stops where it measures 1.5 times as much, by two standard errors. 0 sets none, as
    in the paper."""
    max_update_kl_nats: float = Field(0.0, ge=0)
    """Mean KL per token that one iteration may move the policy; where a minibatch measures 1.5 times as much, the
    iteration's other minibatches are left out. 0 sets none, as in the paper."""
    max_eos_drop: float = Field(0.5, gt=0, le=1)
    """Largest fall of the share of completions that end with EOS, against the first iteration."""
    max_empty_share: float = Field(0.5, gt=0, le=1)
    """Largest share of completions that are nothing but EOS."""
    min_entropy_ratio: float = Field(0.05, ge=0, lt=1)
    """Smallest entropy per token, as a share of the first iteration's."""
    min_scores_std: float = Field(1e-6, ge=0)
    """Smallest standard deviation of a batch's scores, and of its advantages before whitening, in reward units: where
    all are alike there is nothing to learn, and whitening blows up rounding errors."""
    max_sampler_gap: float = Field(0.03, gt=0)
    """Largest mean absolute difference between sampler's and trainer's log-probabilities, in nats a token. Exact
    arithmetic gives 1e-6, bfloat16 engines about 0.01, a temperature wrong by 5 % 0.04 on a real model (measured)."""
    min_sampler_ess: float = Field(0.998, ge=0, le=1)
    """Smallest effective share of the sampled tokens after correcting for that difference (0.996 when measured so)."""
    max_held_out_fall: float = Field(0.1, gt=0)
    """Largest fall of the held-out reward model's score from its peak, as a share of what it had gained by then."""
    hack_start_iterations: int = Field(5, ge=1)
    """First iterations, which say what is usual before the policy has moved; the warm-up of a run is 5 to 10."""
    hack_rise_errors: float = Field(2.5, ge=0)
    """Standard errors by which a trait must have risen to count: by chance 1 in 160 iterations, 1 in 4 million three in
    a row."""
    overpay_errors: float = Field(4.0, ge=0)
    """Standard errors by which it must be overpaid: 1 in 30,000 by chance, and some hundred tokens are looked at."""
    max_overpay: float = Field(1.0, gt=0)
    """What the reward may pay for a risen trait beyond the held-out model, in standard deviations of the beginning's
    scores. On the sandbox's seeds for tuning clean runs reached 0.8, planted hacks 1.5 to 10."""
    max_unjudged_pay: float = Field(2.0, gt=0)
    """What it may pay where no held-out model is there to ask; on the same seeds clean runs reached 1.5."""
    max_length_rise: float = Field(0.25, gt=0)
    """Growth of the mean completion, as a share of the beginning's, from which on overpaid length counts; three times
    this without a held-out model, as for the next two."""
    max_repeated_rise: float = Field(0.02, gt=0)
    """Rise of the share of a completion's bigrams that it held before, from which on overpaid repetition counts."""
    max_share_rise: float = Field(0.07, gt=0)
    """Rise of the share of completions with one token or phrase, from which on an overpaid one counts."""
    min_different_ratio: float = Field(0.1, ge=0, lt=1)
    """Smallest share of completions other than the most common one, as a share of the beginning's: below, one answer is
    given to nearly all prompts, whatever reward and held-out model think of it. At 0.5 the rule stopped a run of the
    demonstration whose policy was preferred to the one before (measured)."""
    max_unearned_gain: float = Field(2.0, gt=0)
    """How much more scores may have gained since the beginning than the held-out model's, each in its own standard
    deviations; on the same seeds clean runs reached 0.4."""
    guard_patience: int = Field(3, ge=1)
    """Iterations in a row that a rule may be broken before the run stops."""
