"""When a round begins by itself, and what the next one waits for. Pure rules over figures of the ledger.

An operator's word goes before all of them. Knows no ledger and no clock: the caller brings figures and the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal

from feedback.records import Round
from trainer.settings.service import TrainerSettings

LONGEST_PAUSE_S = 24 * 3600.0
"""Pause after failures, however many; a machine that is repaired overnight trains the next day."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the rules look at.

    Attributes:
        now: present time, UTC.
        asked: kind of round that an operator asked for, or "".
        has_sft: whether an SFT policy is registered; without one there is no ppo round.
        demonstrations: in the ledger.
        new_labels: labels that no finished ppo round used.
        new_demonstrations: demonstrations that no finished sft round used.
        ended: rounds that are over, oldest first.
    """

    now: datetime
    asked: str
    has_sft: bool
    demonstrations: int
    new_labels: int
    new_demonstrations: int
    ended: Sequence[Round]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be done.

    Attributes:
        kind: of the round to begin now, or "" for none.
        reason: why it begins.
        waits_for: what the next round waits for, a line each.
    """

    kind: Literal["", "sft", "ppo"] = ""
    reason: str = ""
    waits_for: tuple[str, ...] = ()


def decide(settings: TrainerSettings, found: Situation) -> Verdict:
    """Say whether a round begins now, which and why, or what it waits for."""
    if found.asked:
        return Verdict(kind="sft" if found.asked == "sft" else "ppo", reason="an operator asked for it")
    wishes = [_sft_wish(settings, found), _ppo_wish(settings, found)]
    wanted = next((wish for wish in wishes if wish.kind), None)
    held_up = tuple(line for line in (_pause(settings, found), _gap(settings, found), _window(settings, found)) if line)
    if wanted is None:
        return Verdict(waits_for=tuple(line for wish in wishes for line in wish.waits_for) or ("an operator's word",))
    if held_up:
        return Verdict(waits_for=(f"{wanted.kind} is due: {wanted.reason}; held up by", *held_up))
    return wanted


def _sft_wish(settings: TrainerSettings, found: Situation) -> Verdict:
    """The first SFT round when labels are to start rounds, and later ones by demonstrations."""
    if not found.has_sft and settings.min_new_labels:
        return _enough("sft", found.demonstrations, settings.min_demonstrations, "demonstrations, no SFT policy yet")
    if settings.min_new_demonstrations:
        wanted = max(settings.min_new_demonstrations, 0 if found.has_sft else settings.min_demonstrations)
        return _enough("sft", found.new_demonstrations, wanted, "new demonstrations")
    return Verdict()


def _ppo_wish(settings: TrainerSettings, found: Situation) -> Verdict:
    if not found.has_sft:
        automatic = settings.min_new_labels or settings.round_after_hours
        return Verdict(waits_for=("ppo: a first SFT policy",)) if automatic else Verdict()
    lines: list[str] = []
    if settings.min_new_labels:
        by_count = _enough("ppo", found.new_labels, settings.min_new_labels, "new labels")
        if by_count.kind:
            return by_count
        lines += by_count.waits_for
    if settings.round_after_hours:
        by_time = _after_hours(settings, found)
        if by_time.kind:
            return by_time
        lines += by_time.waits_for
    return Verdict(waits_for=tuple(lines))


def _after_hours(settings: TrainerSettings, found: Situation) -> Verdict:
    last = next((each for each in reversed(found.ended) if each.kind == "ppo" and each.state == "done"), None)
    hours = float("inf") if last is None else (found.now - _end(last)) / timedelta(hours=1)
    enough = _enough("ppo", found.new_labels, settings.round_after_labels, "new labels")
    if hours < settings.round_after_hours:
        return Verdict(waits_for=(f"ppo: {hours:.1f} of {settings.round_after_hours:g} hours since the last one",))
    if not enough.kind:
        return enough
    since = "no ppo round before" if last is None else f"{hours:.1f} hours since the last ppo round"
    return Verdict(kind="ppo", reason=f"{enough.reason}, {since}")


def _enough(kind: Literal["sft", "ppo"], count: int, wanted: int, what: str) -> Verdict:
    if count >= wanted:
        return Verdict(kind=kind, reason=f"{count} {what} (at least {wanted})")
    return Verdict(waits_for=(f"{kind}: {count} of {wanted} {what}",))


def _pause(settings: TrainerSettings, found: Situation) -> str:
    """The pause after rounds that came to nothing: doubled for each in a row, so that a broken set-up does not spin."""
    row = 0
    for each in reversed(found.ended):
        if each.state == "done":
            break
        row += 1
    if not row:
        return ""
    pause_s = min(settings.round_retry_s * 2 ** min(row - 1, 30), LONGEST_PAUSE_S)
    last = found.ended[-1]
    return _until(_end(last) + timedelta(seconds=pause_s), found.now, f"the pause after a {last.state} round")


def _gap(settings: TrainerSettings, found: Situation) -> str:
    if not found.ended:
        return ""
    return _until(_end(found.ended[-1]) + timedelta(seconds=settings.round_gap_s), found.now, "the gap between rounds")


def _until(moment: datetime, now: datetime, what: str) -> str:
    left_s = (moment - now).total_seconds()
    return f"{what}: {left_s:.0f} s left" if left_s > 0 else ""


def _window(settings: TrainerSettings, found: Situation) -> str:
    if not settings.round_window:
        return ""
    begins, ends = (time.fromisoformat(word) for word in settings.round_window.split("-"))
    now = found.now.time().replace(tzinfo=None)
    inside = begins <= now < ends if begins < ends else now >= begins or now < ends
    return "" if inside else f"the time of day: {settings.round_window} UTC"


def _end(record: Round) -> datetime:
    return record.finished_at or record.created_at
