"""When failed gold checks pause a labeler, and from when on their labels are in doubt.

The bar is held against the *upper* Wilson bound of the share of passed checks: a pause wants evidence that somebody is
below it. The lower bound would pause by lack of evidence: ten passed of ten have a lower bound of 72 %, and of honest
labelers who pass 95 % of checks it would pause 45 % at thirty checks; the upper bound fewer than one in a million.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from feedback.quality import biases

LEAST = 10
"""Checks below which nobody is paused."""
CHECKS = 30
"""Latest checks that are looked at."""


class Pause(NamedTuple):
    """Why, and since when labels are quarantined."""

    reason: str
    quarantine_from: datetime


def decide(
    results: Sequence[tuple[datetime, bool]], bar: float, began: datetime, forgiven: datetime | None = None
) -> Pause | None:
    """Return the pause that a labeler's checks call for, or None.

    Args:
        results: when each hidden check was answered and whether it was passed, oldest first.
        bar: share of passed checks that is expected, 0 to 1.
        began: first label that is known of them; quarantined from there if no check was passed.
        forgiven: when an operator resumed them; checks until then count no more.
    """
    counted = [each for each in results if forgiven is None or each[0] > forgiven][-CHECKS:]
    score = biases.wilson(sum(passed for _, passed in counted), len(counted))
    if score.n < LEAST or score.high is None or score.high >= bar:
        return None
    passed_at = [at for at, passed in counted if passed]
    since = passed_at[-1] if passed_at else max(began, forgiven or began)
    reason = f"passed {score.value:.0%} of the last {score.n} checks, at most {score.high:.0%} with 95 % confidence"
    return Pause(f"{reason}; the bar is {bar:.0%}", since)
