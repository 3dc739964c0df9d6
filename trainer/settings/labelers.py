"""Whose preferences a reward model learns: what each labeler's and each labeler group's word is worth.

Knows every knob, its default and where the default comes from; does not know how labelers are fitted.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class LabelerSettings(BaseModel):
    """Labelers alike, as in the paper, unless something here says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    exclude_labelers: list[str] = []
    """Labelers whose judgements are never trained on; reported by themselves, as split `excluded`, and nowhere else."""
    labeler_model: Literal["none", "reliability", "bias"] = "none"
    """Learn beside the rewards how reliable each labeler is, or also what each leans on (length, place of display, what
    rows say under `features`), and take it out of the rewards; `none`, as in the paper, takes all for alike."""
    group_weights: list[str] = []
    """Weight of each labeler group in the loss, as GROUP=WEIGHT; relative, 1 for groups not named. Equal weights are
    the paper's loss."""
    condition: Literal["none", "group"] = "none"
    """Begin each conversation with a system message that names the labeler group, so that the model learns each group's
    taste and can be asked for it (proposed in sections 5.2 and 5.3)."""
    unnamed_share: float = Field(0.2, ge=0, le=1)
    """Share of the prompts that `condition` leaves without that message, so that the model can be used without it; by
    hash of the row's id. The value is a guess: nobody has published one."""

    @property
    def weight_of_group(self) -> dict[str, float]:
        """`group_weights` by name."""
        return {name: float(weight) for name, _, weight in (each.rpartition("=") for each in self.group_weights)}

    @field_validator("group_weights")
    @classmethod
    def _named_weights(cls, given: list[str]) -> list[str]:
        for each in given:
            name, _, weight = each.rpartition("=")
            if not name or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", weight):
                raise ValueError(f"{each}: expected GROUP=WEIGHT with a weight of 0 or more, such as customer=0.5")
        return given
