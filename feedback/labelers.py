"""Where each labeler stands: at work or paused, which of their labels are in quarantine, what they have agreed to.

Knows no labels and no statistics: who is paused and why is decided elsewhere, and a snapshot reads here whose labels
it must leave out.
"""

from datetime import UTC, datetime
from typing import Literal, cast

import msgspec

from feedback import keys
from feedback.client import Ledger, encode
from feedback.errors import Conflict, MustAcknowledge, MustPractise, Paused
from feedback.records import AuditEntry, utc_now

PERIOD = "quarantine:"
"""Field prefix: ``quarantine:<from>`` holds the end in unix seconds, or nothing while the pause lasts."""
Period = tuple[datetime, datetime | None]
"""From when, until when; None for a quarantine that still goes on."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one labeler; the one of a labeler never heard of is the default."""

    state: Literal["active", "paused"] = "active"
    reason: str = ""
    """Why it is so, in the words of whoever moved it."""
    since: datetime | None = None
    quarantined_from: datetime | None = None
    """Labels from this moment on are kept out of snapshots; None if there is no running quarantine."""
    acknowledged: str = ""
    """Version of the guidelines that they last agreed to; empty for none."""
    practice_passed: bool = False


def standing(ledger: Ledger, name: str) -> Standing:
    """Return where a labeler stands."""
    return _standing(_fields(ledger, name))


def standings(ledger: Ledger) -> dict[str, Standing]:
    """Return name -> standing of all labelers whose standing was ever written."""
    return {name: _standing(fields) for name, fields in _all(ledger).items()}


def admit(found: Standing, guideline: str = "", *, practice: bool = False) -> None:
    """Return if a labeler who stands like this may work.

    Args:
        found: their standing.
        guideline: version of the guidelines that must be acknowledged first; empty for none.
        practice: whether practice must be passed first.

    Raises:
        Paused: an operator, or the audit of labels, paused them.
        MustAcknowledge: they have not agreed to this version.
        MustPractise: they have not passed the practice items.
    """
    if found.state == "paused":
        raise Paused(f"your work is paused: {found.reason or 'an operator will tell you why'}")
    if guideline and found.acknowledged != guideline:
        raise MustAcknowledge(f"read and acknowledge version {guideline} of the guidelines first")
    if practice and not found.practice_passed:
        raise MustPractise("pass the practice items first")


def pause(ledger: Ledger, name: str, actor: str, reason: str, quarantine_from: datetime | None = None) -> bool:
    """Give a labeler no further items, and quarantine their labels since a moment until they resume.

    Returns:
        False if they were paused already; nothing changes then.
    """
    since = "" if quarantine_from is None else f"{quarantine_from.timestamp():.3f}"
    return _move(ledger, name, "paused", actor, reason, since)


def resume(ledger: Ledger, name: str, actor: str, reason: str = "", *, lift: bool) -> None:
    """Give a labeler items again.

    Args:
        ledger: where they stand.
        name: of the labeler.
        actor: who decides; kept in the audit.
        reason: why; kept in the audit.
        lift: let the quarantined labels count again; if not, what was labelled until now stays out for good.

    Raises:
        Conflict: they are not paused.
    """
    if not _move(ledger, name, "active", actor, reason, "lift" if lift else "keep"):
        raise Conflict(f"{name} is not paused")


def lift(ledger: Ledger, name: str, actor: str, reason: str = "") -> int:
    """Let labels count again that a pause of the past keeps out; return how many quarantines were lifted."""
    over = [field for field, end in _fields(ledger, name).items() if field.startswith(PERIOD) and end]
    if over:
        entry = _entry(name, actor, "lift quarantine", reason)
        with ledger.reach() as client, client.pipeline(transaction=True) as move:
            move.hdel(keys.labeler(name), *over)
            move.xadd(keys.AUDIT, {"record": encode(entry)})
            move.execute()
    return len(over)


def acknowledge(ledger: Ledger, name: str, version: str) -> None:
    """Note that a labeler agreed to a version of the guidelines."""
    _note(ledger, name, "acknowledged", version)


def passed_practice(ledger: Ledger, name: str) -> None:
    """Note that a labeler passed the practice items."""
    _note(ledger, name, "practice", f"{utc_now().timestamp():.3f}")


def quarantined(ledger: Ledger) -> dict[str, list[Period]]:
    """Return name -> the periods whose labels must stay out of snapshots, earliest first."""
    found = {name: _periods(fields) for name, fields in _all(ledger).items()}
    return {name: periods for name, periods in found.items() if periods}


def in_quarantine(periods: list[Period], at: datetime) -> bool:
    """Tell whether a label made at this moment falls into one of its labeler's quarantines."""
    return any(begin <= at and (end is None or at <= end) for begin, end in periods)


def _move(
    ledger: Ledger, name: str, state: Literal["active", "paused"], actor: str, reason: str, quarantine: str
) -> bool:
    entry = _entry(name, actor, "pause labeler" if state == "paused" else "resume labeler", reason, quarantine)
    moved = ledger.run(
        "stand",
        [keys.labeler(name), keys.LABELERS, keys.AUDIT],
        [name, state, reason, f"{entry.at.timestamp():.3f}", encode(entry), quarantine],
    )
    return bool(moved)


def _entry(name: str, actor: str, action: str, reason: str, quarantine: str = "") -> AuditEntry:
    after = {"": "", "lift": "quarantine lifted", "keep": "quarantine final"}.get(quarantine)
    if after is None:
        after = f"quarantine from {datetime.fromtimestamp(float(quarantine), UTC).isoformat()}"
    return AuditEntry(at=utc_now(), actor=actor, action=action, subject=name, after=after, reason=reason)


def _note(ledger: Ledger, name: str, field: str, value: str) -> None:
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.sadd(keys.LABELERS, name)
        move.hset(keys.labeler(name), field, value)
        move.execute()


def _fields(ledger: Ledger, name: str) -> dict[str, str]:
    with ledger.reach() as client:
        return cast(dict[str, str], client.hgetall(keys.labeler(name)))


def _all(ledger: Ledger) -> dict[str, dict[str, str]]:
    with ledger.reach() as client:
        names = sorted(cast(set[str], client.smembers(keys.LABELERS)))
        with client.pipeline(transaction=False) as batch:
            for name in names:
                batch.hgetall(keys.labeler(name))
            found = cast(list[dict[str, str]], batch.execute())
    return dict(zip(names, found, strict=True))


def _standing(fields: dict[str, str]) -> Standing:
    running = [begin for begin, end in _periods(fields) if end is None]
    return Standing(
        state=cast(Literal["active", "paused"], fields.get("state", "active")),
        reason=fields.get("reason", ""),
        since=_moment(fields["since"]) if "since" in fields else None,
        quarantined_from=min(running, default=None),
        acknowledged=fields.get("acknowledged", ""),
        practice_passed="practice" in fields,
    )


def _periods(fields: dict[str, str]) -> list[Period]:
    found = [
        (_moment(field.removeprefix(PERIOD)), _moment(end) if end else None)
        for field, end in fields.items()
        if field.startswith(PERIOD)
    ]
    return sorted(found, key=lambda period: period[0])


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(float(text), UTC)
