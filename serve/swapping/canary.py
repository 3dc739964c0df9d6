"""Who is routed to a canary, and when a canary has shown enough: pure rules, no clock, no ledger.

A caller's place between 0 and 99 depends on the canary's version and the caller alone. So a conversation keeps its
voice, raising the share only adds callers, and the next canary draws other callers.
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb, inf

from feedback.records import Canary

WINDOW = 50
"""The canary's latest answers that count."""
LIVE_WINDOW = 200
"""The live policy's latest answers that they are compared with."""
DOUBT = 1e-4
"""A canary ends when a policy as good as live would do so badly in its window with less than this probability."""
SLOW_FACTOR = 3.0
SLOW_QUANTILE = 0.95
"""An answer is slow if it takes longer than ``SLOW_FACTOR`` times this quantile of live's."""
SLOW_NEEDS = 20
"""Answers of live from which on there is such a quantile."""


def chosen(version: str, sticky: str, share: int) -> bool:
    """Tell whether a caller of ``live`` is answered by the canary.

    Args:
        version: the canary's.
        sticky: whose choice this is: a conversation or a key.
        share: percent of the callers.
    """
    place = int.from_bytes(hashlib.sha256(f"{version}\0{sticky}".encode(errors="replace")).digest()[:8]) % 100
    return place < share


@dataclass(frozen=True)
class Outcome:
    """How one answer went."""

    failed: bool
    latency_s: float


def breach(live: Sequence[Outcome], canary: Sequence[Outcome]) -> str:
    """Return why the canary has to end, or nothing.

    A bad answer failed, was empty, or was far slower than live's. The canary ends when its bad answers are too many to
    be live's bad luck: a one-sided binomial test against live's share of bad answers, smoothed by one good and one bad
    answer, so that without any answer of live only a long run of bad ones ends it.
    """
    slow_s = _slow_s(live)
    bad_live, bad = (sum(each.failed or each.latency_s > slow_s for each in group) for group in (live, canary))
    expected = (bad_live + 1) / (len(live) + 2)
    if _tail(bad, len(canary), expected) >= DOUBT:
        return ""
    slow = sum(not each.failed and each.latency_s > slow_s for each in canary)
    return f"{bad - slow} of its last {len(canary)} answers failed or were empty and {slow} were slow; live: " + (
        f"{bad_live} of {len(live)}"
    )


def _slow_s(live: Sequence[Outcome]) -> float:
    times = sorted(each.latency_s for each in live if not each.failed)
    return SLOW_FACTOR * times[int(SLOW_QUANTILE * (len(times) - 1))] if len(times) >= SLOW_NEEDS else inf


def _tail(bad: int, count: int, share: float) -> float:
    """Return the probability of ``bad`` or more among ``count`` if each is bad with probability ``share``."""
    return sum(comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(bad, count + 1))


@dataclass
class Trial:
    """One canary on this replica, from its begin to its end or breach."""

    canary: Canary
    breach: str = ""
    """Why nobody is routed to it any more; empty while it does well."""
    _canary: deque[Outcome] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _live: deque[Outcome] = field(default_factory=lambda: deque(maxlen=LIVE_WINDOW))

    def note(self, version: str, live_version: str, outcome: Outcome) -> None:
        """Take in one answer; from the one that breaks the rule on, `breach` says why."""
        if version == self.canary.version:
            self._canary.append(outcome)
            self.breach = self.breach or breach(self._live, self._canary)
        elif version == live_version:
            self._live.append(outcome)

    def takes(self, sticky: str) -> bool:
        """Tell whether this caller of ``live`` is the canary's."""
        return not self.breach and chosen(self.canary.version, sticky, self.canary.share)
