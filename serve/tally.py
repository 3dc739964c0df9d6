"""How much each labeler did: a running count over the ledger's append-only streams.

Reads only what was appended since the last look, so a question costs little however long the streams are.
"""

from collections import Counter
from datetime import UTC, date, datetime
from threading import Lock

from feedback import demonstrations, labels, votes
from feedback.client import Ledger
from feedback.records import Demonstration, Label


class Tally:
    """Counts of labels and demonstrations by labeler, all time and today (UTC)."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = Lock()
        self._after = {"labels": "-", "demonstrations": "-"}
        self._total: Counter[tuple[str, str]] = Counter()
        self._today: Counter[tuple[str, str]] = Counter()
        self._day = date.min

    def of(self, labeler: str) -> dict[str, int]:
        """Return one labeler's counts.

        Raises:
            LedgerUnavailable: the ledger is down.
        """
        with self._lock:
            self._catch_up(datetime.now(UTC).date())
            return {
                f"{kind}{suffix}": counter[labeler, kind]
                for kind in self._after
                for suffix, counter in (("", self._total), ("_today", self._today))
            }

    def _catch_up(self, today: date) -> None:
        if today != self._day:
            self._day = today
            self._today.clear()
        for entry_id, label in labels.read(self._ledger, self._after["labels"]):
            # a customer who votes may have the name of a labeler
            labeler = label.labeler if label.labeler_group != votes.GROUP else ""
            self._count("labels", entry_id, labeler, label)
        for entry_id, each in demonstrations.read(self._ledger, self._after["demonstrations"]):
            self._count("demonstrations", entry_id, each.labeler, each)

    def _count(self, kind: str, entry_id: str, labeler: str, record: Label | Demonstration) -> None:
        self._after[kind] = entry_id
        if record.revision == 0:  # a correction is no further work done
            self._total[labeler, kind] += 1
            self._today[labeler, kind] += record.created_at.astimezone(UTC).date() == self._day
