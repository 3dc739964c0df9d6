"""Bootstrap samples of comparisons: what one member of an ensemble of reward models is trained on.

Knows groups, prompts and who judged; does not know models or ensembles. A sample is a pure function of its arguments.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from feedback.errors import DataError
from trainer.data.examples import PreferenceGroup
from trainer.data.replay import merge_labels, rows_of
from trainer.settings.stages import Bootstrap


def resample(groups: Sequence[PreferenceGroup], how: Bootstrap, seed: int) -> list[PreferenceGroup]:
    """Return a bootstrap sample of groups, in their order; what was drawn several times is there several times.

    Args:
        groups: rows of one comparison merged.
        how: ``prompts`` draws each prompt with all that was said of it, by a number of its own, so that it is drawn as
            often when others have come. ``labelers`` draws as many labelers as there are with all that they said:
            what a labeler says is of one taste and no independent evidence.
        seed: of the draw.

    Raises:
        DataError: labelers are to be drawn and a judgement does not say whose it is.

    Source: the bootstrap of Efron 1979; a Poisson count for each item in place of draws from all, Oza and Russell 2001,
    "Online bagging and boosting"; of clusters, Davison and Hinkley 1997, section 3.8.
    """
    if how == "none":
        return list(groups)
    if how == "prompts":
        return [group for group in groups for _ in range(_times(group, seed))] or list(groups)
    unnamed = next((group.id for group in groups if not _all_named(group)), None)
    if unnamed is not None:
        raise DataError(f"row {unnamed} does not say who judged (`annotator`); labelers cannot be drawn, prompts can")
    names = sorted({name for group in groups for name in (*group.labelers, *group.tie_labelers)})
    times = Counter(random.Random(f"bootstrap:labelers:{seed}").choices(names, k=len(names)))
    return [part for group in groups for part in _copies(group, times)]


def _times(group: PreferenceGroup, seed: int) -> int:
    """How often a prompt is drawn: a Poisson number of mean 1, by the inverse of its distribution."""
    left = random.Random(f"bootstrap:prompts:{seed}:{group.prompt_ids}").random()
    count, share = 0, math.exp(-1.0)
    while left >= share and share > 0:
        left -= share
        count += 1
        share /= count
    return count


def _copies(group: PreferenceGroup, times: Counter[str]) -> list[PreferenceGroup]:
    """The group once with what labelers said who were drawn at all, again with those who were drawn twice, and so on.

    A prompt that several labelers judged weighs once for each copy, as every group does, and not once for each labeler.
    """
    copies: list[PreferenceGroup] = []
    for already in range(max(times.values())):
        names = {name for name, count in times.items() if count > already}
        rows = [part for row in rows_of(group) if (part := _said_by(row, names)).pairs or part.ties]
        copies += merge_labels([replace(row, merged=()) for row in rows])
    return copies


def _said_by(row: PreferenceGroup, names: Collection[str]) -> PreferenceGroup:
    """The row with the judgements of these labelers only."""
    pairs = [place for place, name in enumerate(row.labelers) if name in names]
    ties = [place for place, name in enumerate(row.tie_labelers) if name in names]
    return replace(
        row,
        pairs=[row.pairs[place] for place in pairs],
        ties=[row.ties[place] for place in ties],
        labelers=[row.labelers[place] for place in pairs],
        tie_labelers=[row.tie_labelers[place] for place in ties],
        first_shown=[row.first_shown[place] for place in pairs if row.first_shown],
    )


def _all_named(group: PreferenceGroup) -> bool:
    named = len(group.labelers) == len(group.pairs) and len(group.tie_labelers) == len(group.ties)
    return named and all((*group.labelers, *group.tie_labelers))
