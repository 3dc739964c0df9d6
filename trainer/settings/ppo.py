"""Settings of PPO-ptx.

Knows every knob of the policy optimisation, its unit, its default and where the default comes from (appendix C.4 of
Ouyang et al. 2022, arXiv:2203.02155, unless a field says otherwise); does not know presets or the command line.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from trainer.maths.advantages import MissingEos
from trainer.settings.guards import GuardSettings
from trainer.settings.lora import LoraSettings
from trainer.settings.stages import LimitSettings, TrainingSettings


class PpoSettings(TrainingSettings, LimitSettings, LoraSettings, GuardSettings):
    """PPO-ptx (section 3.5, eq. 2, C.4). No top-p or top-k exists here: truncation biases the probability ratio."""

    policy: Path
    """Policy to start from."""
    reference: Path | None = None
    """Frozen policy that the KL is measured against; `policy` when not given, as in the paper."""
    reward: Path | None = None
    """Reward model or ensemble; may be left out only when the caller scores completions itself (Python API)."""
    uncertainty_coef: float = Field(0.0, ge=0)
    """Reward units that an ensemble's score loses for each unit of standard deviation between its members; 0, because
    the paper has one reward model."""
    held_out_reward: Path | None = None
    """Second reward model that nothing is trained on: its scores against the KL show over-optimisation, and stop it."""
    value: Path | None = None
    """Value model to start from; the reward model when not given, as in the paper; of an ensemble its first member."""
    prompts: list[Path]
    """Files of prompts."""
    condition_on: list[str] = []
    """Labeler groups of which each prompt names one in a system message, drawn by hash of its id, for a reward model
    that was trained with `--condition group`; none leaves prompts as they are."""
    pretraining: list[Path] = []
    """Pretraining text for the ptx term; none turns it off (plain PPO)."""

    episodes: int = Field(256_000, gt=0)
    """Completions to sample in all; iterations = episodes / batch_size."""
    batch_size: int = Field(512, gt=0)
    """Episodes per iteration."""
    minibatches: int = Field(8, gt=0)
    """Optimizer steps per inner epoch; must divide `batch_size`."""
    inner_epochs: int = Field(1, gt=0)
    """Passes over an iteration's episodes."""
    lr: float = Field(8.05e-6, gt=0)
    """Peak policy learning rate. The paper prints a sweep from 2.55e-6 to 2.55e-5 and no winner; this is its geometric
    middle, and the rate above which runs without pretraining text diverged (E.9)."""
    value_lr: float = Field(9e-6, gt=0)
    """Value model learning rate, constant (C.4: 9e-6 beside 1.3B and 6B policies, 5e-6 beside 175B)."""
    warmup_iterations: int = Field(10, ge=0)
    """Iterations of linear warm-up of the policy's rate from a tenth of its peak, then constant."""
    ema_decay: float = Field(0.992, ge=0, lt=1)
    """Decay, per iteration, of the average of the policy's weights that is exported."""

    kl_coef: float = Field(0.02, ge=0)
    """Reward units per nat of per-token KL."""
    kl_target_nats: float = Field(0.0, ge=0)
    """Mean KL of an episode that an adaptive coefficient aims at; 0 keeps the coefficient fixed, as in the paper."""
    kl_horizon: int = Field(10_000, gt=0)
    """Episodes over which the adaptive coefficient moves by 20 % where the KL is far from its target (2019 code)."""
    clip: float = Field(0.2, gt=0, lt=1)
    """Clip of the probability ratio."""
    value_clip: float = Field(0.2, gt=0)
    """Clip of the value around its old value, in reward units (2019 code)."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount per token; the paper has none."""
    gae_lambda: float = Field(0.95, ge=0, le=1)
    """GAE lambda; unpublished, 0.95 from the 2019 code."""
    whiten_advantages: bool = True
    """Advantages of the whole batch to mean 0 and deviation 1; unpublished, on in the 2019 code."""
    whiten_rewards: bool = False
    """Token rewards to deviation 1, mean kept; unpublished, on in the 2019 code."""
    missing_eos: MissingEos = "ignore"
    """Whether the score of a completion cut before its EOS is replaced, lessened by the penalty below, or kept."""
    missing_eos_penalty: float = -1.0
    """A score under `replace` (-1: arXiv:2403.17031), a deduction under `subtract`."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature, the same in sampler, old, new and reference log-probabilities."""
    checkpoint_every: int = Field(10, ge=0)
    """Iterations between checkpoints that a killed or guarded run goes back to; 0 writes none."""
    max_steps: int = Field(0, ge=0)
    """Stop at the iteration in which this many optimizer steps of the policy are reached; 0 runs to the end."""
    importance_cap: float = Field(2.0, gt=0)
    """Largest weight that corrects a token for the sampler's numerics differing from the trainer's."""

    ptx_coef: float = Field(27.8, ge=0)
    """Weight of the pretraining loss (gamma of eq. 2)."""
    ptx_per_episode: float = Field(8.0, ge=0)
    """Pretraining blocks per episode; times episodes per minibatch it is rounded to whole blocks."""
    ptx_block_tokens: int = Field(256, gt=1)
    """Length of a pretraining block; the most tokens of a document when they are not packed."""
    ptx_packed: bool = True
    """Fill blocks with documents one after the other; otherwise one document is one block."""

    sampler: Literal["transformers", "vllm"] = "transformers"
    """Who draws completions."""
    vllm_cache_gib: float = Field(1.0, gt=0)
    """Memory of vLLM's KV cache, on CPUs and on GPUs, where the trainer's models lie beside it."""
    sampler_batch_size: int = Field(0, ge=0)
    """Rows that the transformers sampler decodes at once, which bounds its KV cache; 0 takes all."""
    packed: bool = True
    """Run sequences without padding where the architecture allows it, in scoring, PPO and pretraining passes; the
    gradient is the same to rounding."""
    micro_batch_tokens: int = Field(8192, gt=0)
    """Most tokens, padding included, in one forward pass; bounds memory, does not change the gradient."""

    @property
    def iterations(self) -> int:
        """Whole iterations that the episodes make, `max_steps` considered."""
        planned = self.episodes // self.batch_size
        if not self.max_steps:
            return planned
        return min(planned, math.ceil(self.max_steps / (self.minibatches * self.inner_epochs)))

    @property
    def wanted_kl_nats(self) -> float:
        """KL that the coefficient aims at: the budget, else `kl_target_nats`; 0 keeps the coefficient fixed."""
        return self.kl_budget_nats or self.kl_target_nats

    @property
    def ptx_per_minibatch(self) -> int:
        """Pretraining blocks in one optimizer step; 0 when the term is off."""
        if not self.pretraining or self.ptx_coef == 0:
            return 0
        return round(self.ptx_per_episode * self.batch_size / self.minibatches)

    @model_validator(mode="after")
    def _whole_minibatches(self) -> Self:
        if self.batch_size % self.minibatches:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of minibatches {self.minibatches}")
        if self.kl_budget_nats and self.kl_target_nats:
            raise ValueError("give kl_budget_nats or kl_target_nats: the coefficient can aim at one of them only")
        if self.uncertainty_coef and self.reward is None:
            raise ValueError("uncertainty_coef lessens the scores of an ensemble: give one as reward")
        if self.iterations == 0:
            raise ValueError(f"episodes {self.episodes} do not fill one batch of {self.batch_size}")
        return self
