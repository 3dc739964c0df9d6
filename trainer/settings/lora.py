"""Settings of low-rank adapters, which the stages that train a policy share.

Knows the knobs and their units; does not know how an adapter is put into a model (`trainer.models.adapters`).
Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LoraSettings(BaseModel):
    """Full weights, as in the paper, or adapters on frozen weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    lora_rank: int = Field(0, ge=0)
    """Rank of the adapters; 0 trains the full weights, as in the paper."""
    lora_alpha: float = Field(32.0, gt=0)
    """Scale of the adapters: what they add is multiplied by `lora_alpha` / `lora_rank`."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of the adapters' input; acts in supervised fine-tuning only, PPO has no dropout."""
    lora_targets: list[str] = []
    """Names of the linear layers that get adapters, such as `q_proj`; none takes all but the vocabulary head."""
