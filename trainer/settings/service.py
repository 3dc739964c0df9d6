"""Settings of the trainer service, ``python -m trainer serve``.

Knows what the service watches and where its stages work; the stages' own settings are in `trainer.settings.stages`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from feedback.settings import Settings


class TrainerSettings(Settings):
    """What the trainer service needs to know."""

    preset: str = "sandbox"
    """Row of `trainer.settings.presets.PRESETS` that every stage starts from: ``sandbox``, ``small``, ``paper`` ..."""
    pretraining: list[Path] = []
    """Files of pretraining text for the ptx term and the SFT mix (a JSON list); none turns both off."""
    held_out_text: list[Path] = []
    """Files of text that nothing trains on, for the pretraining loss in evaluations (a JSON list)."""
    stage_options: dict[str, dict[str, str | int | float]] = {}
    """Options of single stages that override the preset, such as ``{"ppo": {"kl_coef": 0.05}}`` (JSON)."""
    work_root: Path = Path("var/training")
    """Directory in which the stages of a round work; a restarted service goes on from what it finds there."""
    min_new_labels: int = Field(default=0, ge=0)
    """New labels since the last ppo round that start one by themselves; 0 waits for an operator's word."""
    min_demonstrations: int = Field(default=16, ge=1)
    """Fewest demonstrations with which a round of kind ``sft`` begins."""
    min_new_demonstrations: int = Field(default=0, ge=0)
    """New demonstrations since the last sft round that start one by themselves; 0 waits for an operator's word."""
    round_after_hours: float = Field(default=0.0, ge=0)
    """Hours since the last ppo round after which fewer new labels are enough (``round_after_labels``); 0 never."""
    round_after_labels: int = Field(default=1, ge=1)
    """New labels that are enough after ``round_after_hours``."""
    round_window: str = Field(default="", pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")
    """Time of day, UTC, in which rounds begin by themselves, such as ``22:00-06:00``; empty is always."""
    round_gap_s: float = Field(default=0.0, ge=0)
    """Seconds between the end of a round and the next one that begins by itself."""
    round_retry_s: float = Field(default=600.0, gt=0)
    """Seconds of pause after a failed or cancelled round before one begins by itself; doubled by each further failure
    in a row, up to a day. An operator's word needs no pause."""
    round_lease_s: int = Field(default=60, ge=1, le=3600)
    """Seconds after which a trainer that gives no sign of life loses its round to another one."""
    reward_training: Literal["full", "incremental"] = "full"
    """How a round makes its reward model: ``full`` from the SFT policy on all labels, ``incremental`` from the one
    before on the new labels and a sample of the old."""
    reward_members: int = Field(default=1, ge=1, le=100)
    """Reward models that a round trains as one (stage ``ensemble``); 1 trains a single one, as the paper does. What PPO
    pays for their disagreement is ``{"ppo": {"uncertainty_coef": ...}}`` in ``stage_options``."""
    full_reward_every: int = Field(default=5, ge=1)
    """With ``incremental``: every so many reward models, one is trained in full."""
    ppo_start: Literal["sft", "start"] = "sft"
    """Policy that the first PPO starts from and that all measure their KL to: the SFT policy, or one of its own made in
    each round by stage ``start`` (the paper's C.3)."""
    tensorboard: bool = True
    """Stages of rounds write TensorBoard event files beside their metrics."""
    disagreement_items: int = Field(default=2000, ge=0)
    """Newest unranked comparisons that a round's reward model is asked about; labelers get those sooner on which it
    disagrees with the one before it. 0 asks about none."""
    trainer_poll_s: float = Field(default=1.0, gt=0, le=60)
    """Seconds between two looks at the ledger."""
    trainer_threads: int = Field(default=0, ge=0)
    """CPU threads of a stage; 0 takes all cores."""
    trainer_nice: int = Field(default=0, ge=0, le=19)
    """Niceness of the stages, so that serving keeps its latency on a shared machine."""
    trainer_processes: int = Field(default=1, ge=1)
    """Processes of a training stage; above 1 they start under ``torchrun``."""
    trainer_metrics_port: int = Field(default=0, ge=0, le=65535)
    """TCP port of the service's Prometheus metrics; 0 serves none."""
