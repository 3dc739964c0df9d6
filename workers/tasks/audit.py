"""Audit: judge the latest labels, store the report, and act on it.

Pauses who fails hidden checks, sends items that divide labelers to a reviewer, makes checks of what labelers agree on,
and prepares the next checks. Every move may be repeated: a task that dies half-way is finished by the next one.
"""

import random
from collections.abc import Mapping
from datetime import datetime

from feedback import checks, gold, labelers, log, queues, reviews
from feedback.checks import Past
from feedback.client import Ledger
from feedback.quality import consensus, figures, gathering, pausing, report
from feedback.quality.gathering import Facts, Given, Window
from feedback.records import GoldCheck, utc_now
from workers.settings import WorkerSettings

ACTOR = "audit"
REST = 10.0
"""How many times as long as its making took a report stands at least: a tenth of a core is enough for the next."""
MOST_REVIEWS = 20
"""Items sent to reviewers in one run."""

logger = log.get(__name__)


def audit(ledger: Ledger, settings: WorkerSettings, known: dict[str, Facts] | None = None) -> dict[str, int]:
    """Judge the labels if there are new ones; return what was done, counted.

    Args:
        ledger: where the labels are.
        settings: how many labels are looked at, and the bars.
        known: facts of comparisons from earlier runs of this process.
    """
    before = figures.latest(ledger)
    if before is not None:
        rested = (utc_now() - before.at).total_seconds() >= REST * before.took_s
        if not rested or before.through == gathering.last_entry(ledger):
            return {}
    window = gathering.gather(ledger, settings.audit_labels, known)
    now, known_checks = utc_now(), gold.all_checks(ledger)
    paused = pause(ledger, window, known_checks, settings.gold_bar_percent / 100)
    figures.store(ledger, report.build(window, known_checks, now, labelers.quarantined(ledger)))
    items = window.of_items()
    done = {
        "paused": paused,
        "reviews": review(ledger, items, settings.review_below_percent / 100),
        "gold": add_gold(ledger, items, known_checks, settings.consensus_gold, now),
        "checks": prepare(ledger, window, settings.checked_days, now),
    }
    return {name: count for name, count in done.items() if count}


def pause(ledger: Ledger, window: Window, known_checks: list[GoldCheck], bar: float) -> int:
    """Pause those who fail too many hidden checks, with their labels since the last one that they passed."""
    by_id = {check.comparison_id: check for check in known_checks}
    standings = labelers.standings(ledger)
    paused = 0
    for name, given in window.of_people().items():
        standing = standings.get(name, labelers.Standing())
        if standing.state == "paused":
            continue
        results = report.gold_results(given, by_id)
        found = pausing.decide(results, bar, given[0].label.created_at, standing.since)
        if found is not None and labelers.pause(ledger, name, ACTOR, found.reason, found.quarantine_from):
            logger.warning("labeler paused", labeler=name, reason=found.reason)
            paused += 1
    return paused


def review(ledger: Ledger, items: Mapping[str, list[Given]], below: float) -> int:
    """Send items that divide their labelers to a reviewer."""
    opened = 0
    for each in consensus.split(items, below):
        detail = f"{each.labels} labelers agree on {each.agreement:.0%} of the pairs"
        opened += reviews.open_review(ledger, each.comparison_id, "disagreement", detail)
        if opened >= MOST_REVIEWS:
            break
    return opened


def add_gold(
    ledger: Ledger, items: Mapping[str, list[Given]], known_checks: list[GoldCheck], most: int, now: datetime
) -> int:
    """Make checks of what labelers agree on, until there are ``most`` of all kinds."""
    taken = {check.comparison_id for check in known_checks}
    fresh = [check for check in consensus.consensus(items, now) if check.comparison_id not in taken]
    wanted = fresh[: max(0, most - len(taken))]
    for check in wanted:
        gold.add(ledger, check)
    return len(wanted)


def prepare(ledger: Ledger, window: Window, days: int, now: datetime) -> int:
    """Prepare checks for everybody who labelled lately and is not paused."""
    asked = checks.shares(queues.configs(ledger))
    if not sum(asked):
        return 0
    known_checks, standings, rng = gold.all_checks(ledger), labelers.standings(ledger), random.Random()
    prepared = 0
    for name, given in window.of_people().items():
        active = (now - given[-1].label.created_at).days < days
        if active and standings.get(name, labelers.Standing()).state == "active":
            prepared += checks.prepare(ledger, name, past(given), known_checks, asked, rng)
    return prepared


def past(given: list[Given]) -> Past:
    """Return what somebody answered, as far as it decides which checks they are given."""
    return Past(
        own=[each.label.comparison_id for each in given if each.facts.purpose in consensus.ORDINARY],
        checked=[each.facts.subject if each.facts.subject != each.label.comparison_id else "" for each in given],
        languages={each.facts.language for each in given},
    )
