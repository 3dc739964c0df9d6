"""The gate and the moves of the ``live`` alias.

`judge` is a pure rule; `promote` and `roll_back` are the only code that moves ``live``, in one script with their
audit entry. Each move ends the canary, if one runs.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

import msgspec

from feedback import keys, policies
from feedback.client import Ledger, decode, encode
from feedback.errors import Conflict, NotFound
from feedback.records import AuditEntry, Decision, EvaluationReport, Policy, SwapEvent, utc_now


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate must show."""

    min_win_rate_low: float = 0.5
    """Lower 95 % bound of the win rate against live must be above this."""
    min_prompts: int = 50
    """Held-out prompts behind the win rate."""
    max_kl_nats: float = 30.0
    """KL to the reference policy, nats per completion."""
    max_length_ratio: float = 2.0
    """Mean completion length against live's."""
    min_eos_rate: float = 0.5
    """Share of completions that end by themselves."""
    max_pretraining_loss_rise: float = 0.25
    """Rise of the pretraining loss over the reference's, as a share of it."""


def judge(report: EvaluationReport | None, thresholds: Thresholds) -> Decision:
    """Return the gate's decision; a missing report or figure fails, it never passes.

    Args:
        report: the candidate's figures: ``win_rate`` {mean, low, high, n} against live, ``kl_nats``, ``length_ratio``,
            ``eos_rate``, ``pretraining_loss_rise``; ``stopped`` with the reason if a guard ended its training.
        thresholds: the bars.
    """
    if report is None:
        return Decision(promote=False, reasons=["FAIL no evaluation report"])
    figures = report.figures
    given = figures.get("win_rate")
    win_rate: dict[str, Any] = given if isinstance(given, dict) else {}
    checks = [
        ("win_rate.low", win_rate.get("low"), ">", thresholds.min_win_rate_low),
        ("win_rate.n", win_rate.get("n"), ">=", thresholds.min_prompts),
        ("kl_nats", figures.get("kl_nats"), "<=", thresholds.max_kl_nats),
        ("length_ratio", figures.get("length_ratio"), "<=", thresholds.max_length_ratio),
        ("eos_rate", figures.get("eos_rate"), ">=", thresholds.min_eos_rate),
        ("pretraining_loss_rise", figures.get("pretraining_loss_rise"), "<=", thresholds.max_pretraining_loss_rise),
    ]
    results = [(_holds(value, op, bar), name, value, op, bar) for name, value, op, bar in checks]
    stopped = [f"FAIL training was stopped by a guard: {figures['stopped']}"] if figures.get("stopped") else []
    return Decision(
        promote=all(held for held, *_ in results) and not stopped,
        reasons=stopped
        + [
            f"{'pass' if held else 'FAIL'} {name} {_shown(value)} (bar {op} {bar:g})"
            for held, name, value, op, bar in results
        ],
    )


def gate(policy: Policy, report: EvaluationReport | None, thresholds: Thresholds) -> Decision:
    """Return the gate's decision on a policy.

    A supervised policy with a report needs no win rate: it is the reference that later ones are compared with.
    """
    decision = judge(report, thresholds)
    if policy.kind != "sft" or report is None:
        return decision
    kept = [reason for reason in decision.reasons if not reason.split()[1].startswith("win_rate")]
    return Decision(promote=not any(reason.startswith("FAIL") for reason in kept), reasons=kept)


def _holds(value: object, op: str, bar: float) -> bool:
    if not isinstance(value, int | float):
        return False
    return {">": value > bar, ">=": value >= bar, "<=": value <= bar}[op]


def _shown(value: object) -> str:
    if value is None:
        return "is missing"
    return f"{value:.4g}" if isinstance(value, int | float) else f"is no number: {value!r}"


def promote(ledger: Ledger, name: str, actor: str, reason: str = "", *, action: str = "promote") -> str:
    """Make a version or alias live, live previous, and write the audit; return the version.

    Raises:
        NotFound: no such policy.
        Conflict: it is live already, or somebody else moved ``live`` in the meantime.
    """
    version = policies.get(ledger, name).version
    return _move(ledger, version, policies.aliases(ledger).get("live", ""), actor, reason, action)


def _move(ledger: Ledger, version: str, live: str, actor: str, reason: str, action: str) -> str:
    entry = AuditEntry(
        at=utc_now(), actor=actor, action=action, subject="live", before=live, after=version, reason=reason
    )
    ends = AuditEntry(at=entry.at, actor=actor, action="end canary", subject="canary", reason=f"{action} of {version}")
    verdict = ledger.run(
        "promote",
        [keys.ALIASES, keys.POLICIES, keys.AUDIT, keys.CANARY],
        [version, live, encode(entry), encode(ends)],
    )
    if verdict[0] == "unknown":
        raise NotFound(f"no policy {version!r}; `whetstone policies` lists them")
    if verdict[0] == "same":
        raise Conflict(f"{version} is live already")
    if verdict[0] == "raced":
        raise Conflict(f"live moved to {verdict[1]!r} in the meantime; look again before you promote")
    return version


def roll_back(ledger: Ledger, actor: str, reason: str = "") -> str:
    """Make the previous version live again and return it.

    Raises:
        Conflict: there is no previous version, or somebody else moved ``live`` in the meantime.
    """
    seen = policies.aliases(ledger)
    if "previous" not in seen:
        raise Conflict("there is no previous version to roll back to")
    return _move(ledger, seen["previous"], seen["live"], actor, reason, "roll back")


def note(ledger: Ledger, actor: str, action: str, subject: str, reason: str = "") -> None:
    """Append an entry to the audit for something that moved no alias."""
    entry = AuditEntry(at=utc_now(), actor=actor, action=action, subject=subject, reason=reason)
    with ledger.reach() as client:
        client.xadd(keys.AUDIT, {"record": encode(entry)})


def audit(ledger: Ledger) -> Iterator[AuditEntry]:
    """Yield the audit, oldest first."""
    for _, entry in ledger.stream(keys.AUDIT, AuditEntry):
        yield entry


def promoted_at(ledger: Ledger, most: int = 1000) -> dict[str, datetime]:
    """Return when each version was last made live, from the latest ``most`` entries of the audit."""
    with ledger.reach() as client:
        latest = cast(list[tuple[str, dict[str, str]]], client.xrevrange(keys.AUDIT, count=most))
    found: dict[str, datetime] = {}
    for _, fields in latest:
        entry = decode(fields["record"], AuditEntry)
        if entry.subject == "live":
            found.setdefault(entry.after, entry.at)
    return found


def record_swap(ledger: Ledger, event: SwapEvent) -> None:
    """Append what a serving replica did about a promotion."""
    with ledger.reach() as client:
        client.xadd(keys.SWAPS, {"record": encode(event)}, maxlen=10_000)


def swaps(ledger: Ledger) -> Iterator[SwapEvent]:
    """Yield swap events, oldest first."""
    for _, event in ledger.stream(keys.SWAPS, SwapEvent):
        yield event
