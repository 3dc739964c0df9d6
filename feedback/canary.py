"""The canary: a policy that answers a share of the callers who ask for ``live``, until it is promoted or ended.

At most one at a time, never the live policy itself. A share of 0 stages a policy: serving replicas load it and it
answers under its own name, but nobody is routed to it. Any move of ``live`` ends the canary (in the promote script),
because what it was compared with answers no more. Who is routed to it is serving's rule.
"""

import msgspec

from feedback import keys, policies
from feedback.client import Ledger, encode
from feedback.errors import Conflict, NotFound
from feedback.records import AuditEntry, Canary, utc_now

SUBJECT = "canary"
"""What the audit calls it."""


def running(ledger: Ledger) -> Canary | None:
    """Return the canary, or None while there is none."""
    return ledger.get(keys.CANARY, Canary)


def begin(ledger: Ledger, name: str, share: int, actor: str, reason: str = "") -> Canary:
    """Route ``share`` percent of the callers of ``live`` to a policy, or change the running canary's share.

    Args:
        ledger: where the registry is.
        name: a version or an alias.
        share: whole percent, 0 to 100.
        actor: who wants it; kept in the audit.
        reason: why; kept in the audit.

    Raises:
        InvalidRecord: the share is out of bounds.
        NotFound: no such policy.
        Conflict: the policy is live, or another canary runs.
    """
    version = policies.get(ledger, name).version
    canary = Canary(version=version, share=share, actor=actor, since=utc_now())
    entry = AuditEntry(
        at=canary.since,
        actor=actor,
        action="begin canary",
        subject=SUBJECT,
        after=f"{version} at {share} %",
        reason=reason,
    )
    verdict = ledger.run(
        "canary_begin",
        [keys.CANARY, keys.POLICIES, keys.ALIASES, keys.AUDIT],
        [version, encode(canary), encode(entry)],
    )
    if verdict[0] == "unknown":
        raise NotFound(f"no policy {version!r}; `whetstone policies` lists them")
    if verdict[0] == "live":
        raise Conflict(f"{version} is live; a canary is another policy")
    if verdict[0] == "taken":
        raise Conflict(f"{verdict[1]} is the canary; end it before another one begins")
    return canary


def end(ledger: Ledger, actor: str, reason: str = "", *, only: Canary | None = None) -> Canary:
    """Route nobody to the canary any more and return what it was.

    Args:
        ledger: where it runs.
        actor: who ends it; kept in the audit.
        reason: why; kept in the audit.
        only: end this one and no other that began in the meantime.

    Raises:
        Conflict: no canary runs, or another one than ``only``.
    """
    entry = AuditEntry(at=utc_now(), actor=actor, action="end canary", subject=SUBJECT, reason=reason)
    expected = encode(only) if only is not None else ""
    verdict = ledger.run("canary_end", [keys.CANARY, keys.AUDIT], [expected, encode(entry)])
    if verdict[0] == "none":
        raise Conflict("no canary runs")
    if verdict[0] == "other":
        raise Conflict("another canary began in the meantime")
    return msgspec.json.decode(verdict[1], type=Canary)
