"""Settings of the two stages that only read policies: ``evaluate`` and ``generate``.

Knows their knobs, units and defaults; does not know presets or the command line.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from trainer.settings.stages import LimitSettings, StageSettings


class EvaluateSettings(StageSettings, LimitSettings):
    """Scores of a policy on held-out prompts, beside those of others."""

    policy: Path
    """Policy directory to evaluate; called `policy` in the report."""
    against: list[str] = []
    """Policies to compare it with, each as NAME=DIRECTORY."""
    reference: Path | None = None
    """Policy that every KL is measured to; without it the one called `reference` or `sft` among `against`, if any."""
    parent: Path | None = None
    """Policy that training started from; without it the one called `parent` or `live` among `against`, if any."""
    reward: Path | None = None
    """Reward model; without it there are no scores and no win rates."""
    prompts: list[Path]
    """Prompt files; rows of split train are left out."""
    max_prompts: int = Field(0, ge=0)
    """Prompts to use, in file order; 0 uses all."""
    pretraining: list[Path] = []
    """Held-out pretraining text, for the loss that shows the alignment tax."""
    pretraining_blocks: int = Field(128, gt=0)
    """Most blocks of it to read."""
    pretraining_block_tokens: int = Field(256, gt=1)
    """Length of a block; the most tokens of a document when they are not packed."""
    pretraining_packed: bool = True
    """Fill blocks with documents one after the other; otherwise one document is one block."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature; 0 is greedy."""
    bootstrap: int = Field(2000, gt=0)
    """Resamples of prompts behind each 95 % interval."""
    batch_size: int = Field(64, gt=0)
    """Completions decoded at once."""
    micro_batch_tokens: int = Field(8192, gt=0)
    """Most tokens, padding included, in one scoring pass."""


class GenerateSettings(StageSettings, LimitSettings):
    """Completions of prompts by one policy, as JSON lines."""

    output: Path
    """A ``.jsonl`` file to write or replace; or a directory to make, for ``completions.jsonl`` and ``metrics.json``."""
    policy: Path
    """Policy directory to sample from."""
    prompts: list[Path]
    """Prompt files; every row is used."""
    n: int = Field(1, gt=0)
    """Completions of each prompt."""
    min_completion_tokens: int = Field(0, ge=0)
    """EOS is not taken before so many tokens; 0 takes it whenever it comes."""
    greedy: bool = False
    """Take the likeliest token every time, whatever `temperature` says."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature; 0 is greedy too."""
    logprobs: bool = True
    """Write the log-probability of every token, in nats."""
    batch_size: int = Field(64, gt=0)
    """Completions decoded at once."""
