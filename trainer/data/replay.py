"""What an incremental run trains on: fresh comparisons once, and a stratified sample of those seen before.

Knows groups, how often each label was used for updates, and the budget of uses; does not know models, steps or losses.
Everything is a pure function of its arguments and a seed, so that an interrupted run draws the same sample again.

A *label* is one row of a preferences file: what one labeler said of one comparison. Its key is made of the row's id,
its conversation and its judgements, so a corrected row is a fresh label. ``uses.json`` beside a reward model says how
often each label was used up to then, ``first_used.json`` by which of the runs, counted from 1, it was used first.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from feedback.errors import ArtifactCorrupt, ArtifactMissing
from trainer.data.batches import EpochOrder
from trainer.data.examples import PreferenceGroup

USES_FILE = "uses.json"
FIRST_USED_FILE = "first_used.json"


@dataclass(frozen=True)
class Usage:
    """How often labels were used for updates of a reward model and of those that it was continued from.

    Attributes:
        uses: label key -> passes over it.
        first_used: label key -> number of the run that used it first.
    """

    uses: Mapping[str, int] = field(default_factory=dict)
    first_used: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path) -> Usage:
        """Read what ``save`` wrote beside a reward model.

        Raises:
            ArtifactMissing: the files are not there.
            ArtifactCorrupt: one of them is unreadable.
        """
        try:
            uses, first = (json.loads((directory / name).read_text()) for name in (USES_FILE, FIRST_USED_FILE))
            return cls(dict(uses), dict(first))
        except FileNotFoundError as error:
            raise ArtifactMissing(
                f"{error.filename} is not there, so nobody knows which comparisons this reward model has seen; "
                "train it anew on all of them"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise ArtifactCorrupt(f"{directory}: {USES_FILE} or {FIRST_USED_FILE} is unreadable: {error}") from error

    def save(self, directory: Path) -> None:
        """Write both files."""
        for name, counts in ((USES_FILE, self.uses), (FIRST_USED_FILE, self.first_used)):
            (directory / name).write_text(json.dumps(dict(sorted(counts.items())), indent=0) + "\n")

    def after(self, passes: Mapping[str, int]) -> Usage:
        """Return the usage after one more run that made these passes."""
        run = 1 + max(self.first_used.values(), default=0)
        uses = Counter(self.uses)
        uses.update({key: count for key, count in passes.items() if count})
        return Usage(dict(uses), {key: self.first_used.get(key, run) for key in uses})


@dataclass(frozen=True)
class Selection:
    """What an incremental run trains on.

    Attributes:
        groups: fresh comparisons first, then the replayed ones.
        fresh: how many of them hold a label that was never used.
        exhausted: seen comparisons that nothing may be replayed of, because their budget is used up.
    """

    groups: list[PreferenceGroup]
    fresh: int
    exhausted: int


def merge_labels(groups: Sequence[PreferenceGroup]) -> list[PreferenceGroup]:
    """Return groups with the rows of one comparison that several people of one labeler group ranked made one.

    Its prompt then weighs as much as any other, and its completions are run through the model once.
    """
    merged: dict[Any, PreferenceGroup] = {}
    for group in groups:
        texts = tuple(tuple(completion) for completion in group.completions)
        key = (tuple(group.prompt_ids), texts, group.labeler_group, group.split, group.source)
        first = merged.get(key)
        if first is not None:
            group = first.with_judgements_of(group, merged=(*rows_of(first), group))
        merged[key] = group
    return list(merged.values())


def rows_of(group: PreferenceGroup) -> tuple[PreferenceGroup, ...]:
    """Return the rows that a group was made of: itself if it was not merged."""
    return group.merged or (group,)


def label_key(row: PreferenceGroup) -> str:
    """Return the key of one row: its id and a hash of what was asked and said."""
    said = json.dumps([row.messages, row.pairs, row.ties])
    return f"{row.id}#{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def passes(groups: Sequence[PreferenceGroup], order: EpochOrder, batches: int) -> dict[str, int]:
    """Return how often each label was used by the first ``batches`` batches of an order over ``groups``.

    Args:
        groups: what the order counts.
        order: read for its rows, batch size, seed and epochs; its cursor stays where it is.
        batches: optimizer steps that were taken.
    """
    counts: Counter[str] = Counter()
    for row, times in order.uses(batches).items():
        for label in rows_of(groups[row]):
            counts[label_key(label)] += times
    return dict(counts)


def select(groups: Sequence[PreferenceGroup], usage: Usage, *, ratio: float, max_uses: int, seed: int) -> Selection:
    """Choose what an incremental run trains on, once each.

    Args:
        groups: all groups that may be trained on, rows of one comparison merged.
        usage: of the reward model that is continued.
        ratio: replayed groups for each fresh one.
        max_uses: labels that were used so often are never used again.
        seed: of the sample.

    Returns:
        Every group with a label that was never used, and ``ratio`` times as many others, as far as there are any:
        each stratum (run of first use, K, set, labeler group) in proportion to its size, those that were used least
        first. A group is cut down to the labels whose budget is not used up.
    """
    fresh: list[PreferenceGroup] = []
    seen: list[PreferenceGroup] = []
    exhausted = 0
    for group in groups:
        kept = [row for row in rows_of(group) if usage.uses.get(label_key(row), 0) < max_uses]
        if not kept:
            exhausted += 1
            continue
        (left,) = merge_labels([replace(row, merged=()) for row in kept])
        unused = any(label_key(row) not in usage.uses for row in kept)
        (fresh if unused else seen).append(left)
    replayed = _stratified(seen, usage, min(round(ratio * len(fresh)), len(seen)), seed)
    return Selection(fresh + replayed, len(fresh), exhausted)


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """Split ``count`` over strata in proportion to their sizes, by largest remainders; earlier strata win ties.

    Args:
        sizes: of the strata.
        count: at most their sum.

    Source: Hamilton's method of apportionment; no share is larger than its stratum.
    """
    total = sum(sizes)
    exact = [size * count / total if total else 0.0 for size in sizes]
    found = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda index: found[index] - exact[index])
    for index in order[: count - sum(found)]:
        found[index] += 1
    return found


def _stratified(seen: Sequence[PreferenceGroup], usage: Usage, count: int, seed: int) -> list[PreferenceGroup]:
    """Draw ``count`` groups; the same for the same groups in whatever order they come."""
    rng = random.Random(f"replay:{seed}:{len(usage.uses)}")
    strata: defaultdict[tuple[Any, ...], list[PreferenceGroup]] = defaultdict(list)
    for group in sorted(seen, key=lambda group: min(_keys(group))):
        first = min(usage.first_used.get(key, 0) for key in _keys(group))
        strata[(first, group.K, group.source, group.labeler_group or "")].append(group)
    names = sorted(strata)
    rng.shuffle(names)  # so that no stratum always wins or loses by its remainder
    drawn: list[PreferenceGroup] = []
    for name, share in zip(names, shares([len(strata[name]) for name in names], count), strict=True):
        members = strata[name]
        rng.shuffle(members)
        members.sort(key=lambda group: max(usage.uses[key] for key in _keys(group)))
        drawn += members[:share]
    return drawn


def _keys(group: PreferenceGroup) -> Iterable[str]:
    return [label_key(row) for row in rows_of(group)]
