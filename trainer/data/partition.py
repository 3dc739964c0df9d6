"""Who is trained on and who is only reported, so that no prompt is on both sides.

Knows splits, labeler groups and prompts of groups; does not know files or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feedback.errors import DataError
from trainer.data.examples import PreferenceGroup
from trainer.data.reading import held_out

HELD_OUT_LABELERS = ("held-out", "held_out", "heldout")
"""Labeler groups whose judgements are never trained on (Ouyang et al. 2022, arXiv:2203.02155, section 3.4)."""


@dataclass(frozen=True)
class Partition:
    """Who is trained on and who is only reported.

    Attributes:
        train: groups of training labelers with at least one judgement to learn from.
        valid: groups on prompts that no training group has.
        leaked: groups left out because their prompt is trained on by another row.
    """

    train: list[PreferenceGroup]
    valid: list[PreferenceGroup]
    leaked: int


def partition(groups: Sequence[PreferenceGroup], valid_fraction: float, *, ties: bool = False) -> Partition:
    """Split groups into those to train on and those to report on.

    Args:
        groups: all groups; those without a split are held out by hash of customer or prompt.
        valid_fraction: share held out where the file does not say.
        ties: whether something is learned from a tie, so that a group of ties alone is worth training on.

    Returns:
        The partition. Held-out labelers are never trained on; of other held-out rows, those whose prompt is trained
        on anyway are dropped and counted.

    Raises:
        DataError: no group with a judgement is left to train on.
    """
    train: list[PreferenceGroup] = []
    rest: list[PreferenceGroup] = []
    for group in groups:
        split = group.split or ("valid" if held_out(group.messages, group.customer, valid_fraction) else "train")
        trained = split == "train" and group.labeler_group not in HELD_OUT_LABELERS
        (train if trained else rest).append(group)
    train = [group for group in train if group.pairs or (ties and group.ties)]
    if not train:
        raise DataError("no row to train on: every one is held out, or all its completions are tied")
    prompts = {tuple(group.prompt_ids) for group in train}
    valid = [group for group in rest if tuple(group.prompt_ids) not in prompts]
    return Partition(train, valid, leaked=len(rest) - len(valid))
