"""The gate before the queues: skills, standing, guidelines, practice; what it remembers, and for how long."""

import pytest

from feedback import guidelines, leases, queues
from feedback.client import Ledger
from feedback.errors import Forbidden, NotFound
from feedback.records import ApiKey
from serve.routes.gate import KNOWN_S, Gate, Known
from tests.builders import NOON

KEY = ApiKey(id="key_1", role="labeler", owner="lee", secret_sha256="0" * 64, created_at=NOON, skills=["lang:de"])
TRAINING = queues.BUILT_IN["training"]


def test_nothing_is_demanded_before_anybody_said_so(ledger: Ledger) -> None:
    assert Gate(ledger, practice_required=False).admit(KEY, TRAINING) == leases.Demand("", practice=False)


def test_new_guidelines_have_to_be_acknowledged_if_they_say_so(ledger: Ledger) -> None:
    published = guidelines.publish(ledger, "# New", "everything", "olga")
    gate = Gate(ledger, practice_required=False)
    assert gate.guidelines() == published
    assert gate.admit(KEY, TRAINING).guideline == published.version
    guidelines.publish(ledger, "# Newer", "a comma", "olga", must_acknowledge=False)
    assert Gate(ledger, practice_required=False).admit(KEY, TRAINING).guideline == ""


def test_practice_is_demanded_only_where_it_is_required(ledger: Ledger) -> None:
    assert Gate(ledger, practice_required=True).admit(KEY, TRAINING).practice


def test_a_queue_that_needs_skills_is_closed_to_others(ledger: Ledger) -> None:
    queues.put(ledger, "medical", needs=["medicine"])
    queues.put(ledger, "german", needs=["lang:de"])
    gate = Gate(ledger, practice_required=False)
    gate.admit(KEY, gate.config("german"))
    with pytest.raises(Forbidden, match="medicine"):
        gate.admit(KEY, gate.config("medical"))
    names = {config.name for config in gate.open_to(KEY)}
    assert names == {"training", "agreement", "evaluation", "demonstration", "german"}
    with pytest.raises(NotFound, match="nowhere"):
        gate.config("nowhere")


def test_a_value_is_asked_for_again_once_it_is_old() -> None:
    at, asked = 100.0, 0

    def ask() -> int:
        nonlocal asked
        asked += 1
        return asked

    known = Known(ask, now=lambda: at)
    assert [known.get(), known.get()] == [1, 1]
    at += KNOWN_S + 0.1
    assert known.get() == 2
