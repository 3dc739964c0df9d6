"""Logging: JSON on standard error, one object a line, naming its process."""

import json
import subprocess
import sys

PROGRAM = """
from feedback import log
log.setup("trainer", "{level}")
log.get("feedback.test").info("stage began", stage="sft", steps=3)
log.get("feedback.test").warning("ledger unavailable")
"""


def lines(level: str) -> list[dict[str, object]]:
    """Run a process that logs two events at this level and return what it printed on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_an_event_is_one_json_object_with_its_fields_process_and_utc_time() -> None:
    first = lines("info")[0]
    assert first["event"] == "stage began"
    assert first["stage"] == "sft"
    assert first["steps"] == 3
    assert first["process"] == "trainer"
    assert first["module"] == "feedback.test"
    assert str(first["timestamp"]).endswith("Z")


def test_events_below_the_level_are_not_printed() -> None:
    assert [line["event"] for line in lines("warning")] == ["ledger unavailable"]
