"""Labels: checked against their comparison, appended under a live lease, corrected by new ones, never overwritten."""

from collections.abc import Container, Iterator
from typing import Any

import msgspec

from feedback import keys, submissions
from feedback.client import Ledger
from feedback.errors import InvalidRecord
from feedback.records import Comparison, Label, QueueConfig

Ranking = list[list[int]]


def verdict_on_all(k: int) -> Ranking:
    """Return the ranking that goes with ``all_bad`` and ``all_good``: one group of all, so it orders nothing."""
    return [list(range(k))]


def check(
    label: Label, comparison: Comparison, config: QueueConfig | None = None, flags: Container[str] | None = None
) -> None:
    """Check that a label fits its comparison.

    Args:
        label: what was said.
        comparison: of what.
        config: of the queue, which says whether completions may be tied or left out; without it ties are allowed and
            every completion must be ranked.
        flags: names of the present flag set; None for any.

    Raises:
        InvalidRecord: it is a label of another comparison, the ranking is none of these completions, or something that
            was said of single completions does not fit them; says which.
    """
    if label.comparison_id != comparison.id:
        raise InvalidRecord(f"label {label.id} is of {label.comparison_id}, not of {comparison.id}")
    k = len(comparison.completions)
    _check_ranking(label, k, config)
    for name, values in (("quality", label.quality), ("read_s", label.read_s)):
        if values and len(values) != k:
            raise InvalidRecord(f"{name} has {len(values)} entries for {k} completions")
    for flag, indices in label.flags.items():
        if flags is not None and flag not in flags:
            raise InvalidRecord(f"there is no flag {flag!r} in flag set {label.flag_set_version}")
        if any(index not in range(k) for index in indices):
            raise InvalidRecord(f"flag {flag!r} names completion {indices}, there are {k}")
    for span in label.spans:
        length = len(comparison.completions[span.completion].text) if span.completion < k else -1
        if not span.start < span.end <= length:
            raise InvalidRecord(f"span {span.start}..{span.end} is not in completion {span.completion}")


def _check_ranking(label: Label, k: int, config: QueueConfig | None) -> None:
    if label.outcome != "ranked":
        if sorted(index for group in label.ranking for index in group) != list(range(k)) or len(label.ranking) != 1:
            raise InvalidRecord(f"{label.outcome} is said of all completions: the ranking is one group of 0..{k - 1}")
        return
    ranked = sorted(index for group in label.ranking for index in group)
    partial = config is not None and config.partial_order
    if len(set(ranked)) != len(ranked) or any(index not in range(k) for index in ranked):
        raise InvalidRecord(
            f"ranking {label.ranking} must hold each of 0..{k - 1} at most once, in tie groups, best first"
        )
    if not partial and len(ranked) != k:
        raise InvalidRecord(
            f"ranking {label.ranking} must hold each of 0..{k - 1} exactly once, in tie groups, best first"
        )
    if len(ranked) < 2:
        raise InvalidRecord(f"ranking {label.ranking} compares nothing; name at least two completions")
    if any(not group for group in label.ranking):
        raise InvalidRecord(f"ranking {label.ranking} has an empty tie group")
    if config is not None and not config.ties and any(len(group) > 1 for group in label.ranking):
        raise InvalidRecord(f"ranking {label.ranking} has ties; this queue takes none")


def submit(
    ledger: Ledger,
    label: Label,
    comparison: Comparison,
    token: int,
    config: QueueConfig | None = None,
    flags: Container[str] | None = None,
    now: float | None = None,
) -> submissions.Answer:
    """Append a label under its lease; a repeated submission returns its first answer.

    Raises:
        InvalidRecord: the label does not fit the comparison (see `check`).
        LeaseLost: the labeler no longer holds the comparison; nothing was written.
        Conflict: another label was given under this id; it is kept.
    """
    check(label, comparison, config, flags)
    return submissions.take(ledger, keys.LABELS, label, comparison.id, token, substance(label), now=now)


def revise(
    ledger: Ledger,
    label: Label,
    comparison: Comparison,
    config: QueueConfig | None = None,
    flags: Container[str] | None = None,
    *,
    revise_s: float = submissions.REVISE_S,
    now: float | None = None,
) -> submissions.Answer:
    """Append a label that corrects an earlier one (``revision_of``, ``revision``), which stays as it is.

    Raises:
        InvalidRecord: the label does not fit the comparison (see `check`).
        NotFound: this labeler gave no such label within the last month.
        Conflict: it is too late, or it was corrected meanwhile.
    """
    check(label, comparison, config, flags)
    return submissions.revise(ledger, keys.LABELS, label, comparison.id, substance(label), revise_s=revise_s, now=now)


def read(ledger: Ledger, after: str = "-") -> Iterator[tuple[str, Label]]:
    """Yield (entry id, label) of all labels, corrected ones too, oldest first, beginning behind ``after``."""
    yield from ledger.stream(keys.LABELS, Label, after)


def current(ledger: Ledger) -> Iterator[tuple[str, Label]]:
    """Yield (entry id, label) of what labelers say now: of each label its last revision, in the order of the first."""
    yield from submissions.latest(read(ledger))


def of(ledger: Ledger, comparison_id: str) -> list[Label]:
    """Return what labelers say now of one comparison, in the order in which they first did."""
    found = submissions.of_item(ledger, keys.LABELS, comparison_id, Label)
    return [label for _, label in submissions.latest(found)]


def count(ledger: Ledger) -> int:
    """Return how many labels were ever taken; one that was corrected counts once."""
    with ledger.reach() as client:
        return int(client.xlen(keys.LABELS)) - int(client.get(keys.revised(keys.LABELS)) or 0)


def pairs(ranking: Ranking) -> Iterator[tuple[int, int, str]]:
    """Yield (a, b, winner) for all pairs of ranked completions, ``a`` < ``b``, winner ``a``, ``b`` or ``tie``.

    A completion that the ranking leaves out was not compared: it is in no pair.
    """
    place = {index: position for position, group in enumerate(ranking) for index in group}
    ordered = sorted(place)
    for position, a in enumerate(ordered):
        for b in ordered[position + 1 :]:
            winner = "tie" if place[a] == place[b] else ("a" if place[a] < place[b] else "b")
            yield a, b, winner


def substance(label: Label) -> str:
    """Return the digest of what a label says; how long it took is none of it, so a retry may have counted on."""
    said: list[Any] = [
        label.comparison_id,
        label.outcome,
        label.ranking,
        label.quality,
        {flag: sorted(indices) for flag, indices in sorted(label.flags.items())},
        [msgspec.structs.astuple(span) for span in label.spans],
        label.note,
        label.revision_of,
    ]
    return submissions.digest(*said)
