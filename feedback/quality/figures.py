"""The report on labels, as it is stored and shown: figures with their intervals.

Knows the shape of the report and how to keep it; how a figure is computed is its neighbours' business. Light, because
serving reads reports.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from feedback import keys
from feedback.client import Ledger
from feedback.ids import made_at_s


class Estimate(msgspec.Struct, frozen=True):
    """A figure and its 95 % interval; all three are None where nothing was there to compute it from."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """How many items, or trials, are behind it."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """How far the labelers of one group agree with each other."""

    labelers: int
    labels: int
    agreement: Estimate
    """Share of pairs on which two labelers agree, where both prefer one."""
    agreement_with_ties: Estimate
    alpha: Estimate
    """Krippendorff's alpha of the pairs' outcomes, nominal."""
    quality_alpha: Estimate
    """Krippendorff's alpha of the 1-7 scores, ordinal."""
    tau: Estimate
    """Mean of Kendall's tau-b between two labelers' orders of one item."""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What a labeler is shown of themselves: nothing of today, so that no figure moves with a single answer.

    Otherwise a look after each item would tell which of them were checks.
    """

    agreement: Estimate
    gold: Estimate
    self_agreement: Estimate


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What the labels of one labeler look like beside those of all others."""

    group: str
    labels: int
    today: int
    """Labels of this UTC day."""
    median_s: float | None
    """Median of the active seconds per item."""
    s_per_word: float | None
    """Median of the active seconds per word shown."""
    agreement: Estimate
    gold: Estimate
    """Share of passed checks among the last ones."""
    self_agreement: Estimate
    """Share of pairs ordered alike at both looks at one item."""
    first_wins: Estimate
    """Share of decided pairs that the completion shown further up won."""
    longer_wins: Estimate
    """Share of decided pairs that the longer completion won."""
    evidence: float
    """Odds that some share of the labels is reversed on purpose, against none (see `detection`)."""
    bar: float | None
    """Odds from which on they are flagged; None while there are too few labels of others."""
    before: Estimate
    """Agreement in earlier labels, to hold against ``recent``."""
    recent: Estimate
    """Agreement in the latest labels."""
    own: Own
    flags: list[str]
    """What an operator should look at, one sentence each."""


class FlagUse(msgspec.Struct, frozen=True, kw_only=True):
    """How labelers who saw the same completion used one flag."""

    both: int
    """Pairs of labelers who both set it."""
    one: int
    """Pairs of whom one set it."""
    none: int
    """Pairs of whom neither set it."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found in the latest labels."""

    at: datetime
    through: str
    """Last entry of the log of labels that was read."""
    took_s: float
    """Seconds that it took to make."""
    labels: int
    """Labels that were looked at, the latest ones."""
    groups: dict[str, Group]
    people: dict[str, Person]
    slots: list[Estimate]
    """Win rate by place on the page, first place first."""
    first_wins: Estimate
    longer_wins: Estimate
    flags: dict[str, FlagUse]
    quarantined: int
    """Labels that are in quarantine."""
    verdicts: dict[str, int]
    """Outcome -> labels."""
    per_hour: list[int]
    """Labels in each of the last 24 hours, oldest first."""


def oldest(ledger: Ledger, queues: Iterable[str]) -> dict[str, float | None]:
    """Return queue -> when its longest-waiting item was made, unix seconds; None if nothing waits or no id tells.

    Items with priority stand before older ones, so it is the oldest of the first few.
    """
    found: dict[str, float | None] = {}
    with ledger.reach() as client:
        for name in queues:
            heads = [*client.zrange(keys.queue(name), 0, 19), *client.zrange(keys.queue_partial(name), 0, 19)]
            found[name] = min((at for id in heads if (at := made_at_s(id)) is not None), default=None)
    return found


def store(ledger: Ledger, report: Report) -> None:
    """Keep a report in place of the one before."""
    with ledger.reach() as client:
        client.set(keys.QUALITY, msgspec.json.encode(report).decode())


def latest(ledger: Ledger) -> Report | None:
    """Return the latest report, or None before there is one of this version's shape."""
    with ledger.reach() as client:
        text = client.get(keys.QUALITY)
    try:
        return None if text is None else msgspec.json.decode(text, type=Report)
    except msgspec.MsgspecError:
        return None
