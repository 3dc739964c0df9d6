"""The stored report: one at a time, readable by whoever comes, light to read."""

import subprocess
import sys

from feedback import keys
from feedback.client import Ledger
from feedback.ids import made_at_s
from feedback.quality import figures, report
from feedback.quality.gathering import Window
from feedback.records import utc_now
from tests.builders import open_comparison


def test_the_latest_report_is_kept(ledger: Ledger) -> None:
    assert figures.latest(ledger) is None
    made = report.build(Window([], "5-0"), [], utc_now())
    figures.store(ledger, made)
    assert figures.latest(ledger) == made


def test_a_report_of_another_version_is_none(ledger: Ledger) -> None:
    ledger.redis.set(keys.QUALITY, '{"at": "then"}')
    assert figures.latest(ledger) is None


def test_a_queue_is_as_old_as_what_waits_longest(ledger: Ledger) -> None:
    first = open_comparison(ledger)
    open_comparison(ledger)
    found = figures.oldest(ledger, ["training", "agreement"])
    assert found == {"training": made_at_s(first.id), "agreement": None}


def test_reading_reports_loads_no_statistics() -> None:
    code = "import sys, feedback.quality.figures; print(sorted({'numpy', 'scipy', 'krippendorff'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
