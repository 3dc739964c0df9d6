"""Who is trained on and who is only reported, so that no prompt is on both sides.

Knows splits, labeler groups and prompts of groups; does not know files or models.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from feedback.errors import DataError
from trainer.data.examples import PreferenceGroup
from trainer.data.reading import held_out

HELD_OUT_LABELERS = ("held-out", "held_out", "heldout")
"""Labeler groups whose judgements are never trained on (Ouyang et al. 2022, arXiv:2203.02155, section 3.4)."""


EXCLUDED = "excluded"
"""Split of judgements of labelers whom a run is told to leave out; never trained on, reported by themselves."""


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


def exclude(rows: Sequence[PreferenceGroup], labelers: Collection[str]) -> list[PreferenceGroup]:
    """Return rows with the judgements of some labelers in rows of their own, of the split ``EXCLUDED``.

    Args:
        rows: not merged yet; a row that several people judged is taken apart.
        labelers: names.

    Raises:
        DataError: none of the rows has a judgement of one of them, so that the name must be wrong.
    """
    names = set(labelers)
    unknown = names - {name for row in rows for name in (*row.labelers, *row.tie_labelers)}
    if unknown:
        raise DataError(
            f"no judgement by {', '.join(sorted(unknown))}, who should be left out: who judged is in `annotator`"
        )
    found: list[PreferenceGroup] = []
    for row in rows:
        ours, theirs = _of(row, names, wanted=False), replace(_of(row, names, wanted=True), split=EXCLUDED)
        parts = [part for part in (ours, theirs) if part.pairs or part.ties]
        found += parts or [row]
    return found


def _of(row: PreferenceGroup, names: Collection[str], *, wanted: bool) -> PreferenceGroup:
    """The judgements of a row that are, or are not, by somebody of these names; those of nobody named are not."""
    pairs = [place for place in range(len(row.pairs)) if _name(row.labelers, place, names) == wanted]
    ties = [place for place in range(len(row.ties)) if _name(row.tie_labelers, place, names) == wanted]
    return replace(
        row,
        pairs=[row.pairs[place] for place in pairs],
        ties=[row.ties[place] for place in ties],
        labelers=[row.labelers[place] for place in pairs if row.labelers],
        tie_labelers=[row.tie_labelers[place] for place in ties if row.tie_labelers],
        first_shown=[row.first_shown[place] for place in pairs if row.first_shown],
    )


def _name(labelers: Sequence[str], place: int, names: Collection[str]) -> bool:
    return bool(labelers) and labelers[place] in names
