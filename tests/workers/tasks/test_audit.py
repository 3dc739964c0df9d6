"""Audit: what it finds in the ledger's labels, it acts on once."""

from datetime import timedelta

import msgspec
import pytest

from feedback import checks, comparisons, gold, keys, labelers, queues, reviews
from feedback.client import Ledger, encode
from feedback.quality import figures
from feedback.records import GoldCheck, Label, utc_now
from tests.builders import make_comparison, make_label, open_comparison
from workers.settings import WorkerSettings
from workers.tasks.audit import audit

pytestmark = pytest.mark.redis
RIGHT, WRONG = [[0], [1], [2], [3]], [[3], [2], [1], [0]]


def say(ledger: Ledger, comparison_id: str, name: str, ranking: list[list[int]], **label: object) -> Label:
    """Append a label of a comparison as the submit script would."""
    comparison = comparisons.get(ledger, comparison_id)
    made = make_label(comparison, labeler=name, ranking=ranking, created_at=utc_now(), **label)
    ledger.redis.xadd(keys.LABELS, {"record": encode(made)})
    return made


def labels_seen(ledger: Ledger) -> int:
    """Return how many labels the latest report is on."""
    found = figures.latest(ledger)
    assert found is not None
    return found.labels


def rested(ledger: Ledger) -> None:
    """Let the next audit begin at once, however long the last one took."""
    found = figures.latest(ledger)
    assert found is not None
    figures.store(ledger, msgspec.structs.replace(found, took_s=0.0))


def checked(ledger: Ledger, name: str, count: int, ranking: list[list[int]]) -> GoldCheck:
    """Let somebody answer copies of one known comparison."""
    original = open_comparison(ledger)
    check = GoldCheck(comparison_id=original.id, created_at=utc_now(), pairs=[(0, 3)], source="operator")
    gold.add(ledger, check)
    for _ in range(count):
        copy = checks.copy_of(original, "gold", make_comparison().id)
        ledger.redis.set(keys.comparison(copy.id), encode(copy))
        say(ledger, copy.id, name, ranking, purpose="gold")
    return check


@pytest.fixture
def settings() -> WorkerSettings:
    return WorkerSettings()


def test_who_fails_hidden_checks_is_paused_and_quarantined(ledger: Ledger, settings: WorkerSettings) -> None:
    first = say(ledger, open_comparison(ledger).id, "rex", RIGHT)
    checked(ledger, "rex", 12, WRONG)
    assert audit(ledger, settings)["paused"] == 1
    standing = labelers.standing(ledger, "rex")
    assert standing.state == "paused"
    assert "0% of the last 12 checks" in standing.reason
    assert standing.quarantined_from is not None
    assert abs(standing.quarantined_from - first.created_at) < timedelta(milliseconds=2)
    report = figures.latest(ledger)
    assert report is not None
    assert report.quarantined >= 12


def test_who_passes_them_goes_on(ledger: Ledger, settings: WorkerSettings) -> None:
    checked(ledger, "lee", 30, RIGHT)
    assert "paused" not in audit(ledger, settings)
    report = figures.latest(ledger)
    assert report is not None
    assert (report.people["lee"].gold.value, report.people["lee"].gold.n) == (1, 30)


def test_an_operator_who_resumes_is_not_overruled_by_old_checks(ledger: Ledger, settings: WorkerSettings) -> None:
    checked(ledger, "rex", 12, WRONG)
    audit(ledger, settings)
    labelers.resume(ledger, "rex", "olga", "the check was wrong", lift=True)
    rested(ledger)
    say(ledger, open_comparison(ledger).id, "rex", RIGHT)
    audit(ledger, settings)
    assert labelers.standing(ledger, "rex").state == "active"


def test_without_new_labels_nothing_is_looked_at(ledger: Ledger, settings: WorkerSettings) -> None:
    say(ledger, open_comparison(ledger).id, "lee", RIGHT)
    audit(ledger, settings)
    rested(ledger)
    before = figures.latest(ledger)
    assert audit(ledger, settings) == {}
    assert figures.latest(ledger) == before
    say(ledger, open_comparison(ledger).id, "lee", RIGHT)
    audit(ledger, settings)
    after = figures.latest(ledger)
    assert after is not None
    assert after.labels == 2


def test_an_audit_that_took_long_rests_longer(ledger: Ledger, settings: WorkerSettings) -> None:
    say(ledger, open_comparison(ledger).id, "lee", RIGHT)
    audit(ledger, settings)
    first = figures.latest(ledger)
    assert first is not None
    say(ledger, open_comparison(ledger).id, "lee", RIGHT)
    figures.store(ledger, msgspec.structs.replace(first, at=utc_now(), took_s=60.0))
    audit(ledger, settings)
    assert labels_seen(ledger) == 1
    figures.store(ledger, msgspec.structs.replace(first, at=utc_now() - timedelta(seconds=601), took_s=60.0))
    audit(ledger, settings)
    assert labels_seen(ledger) == 2


def test_what_divides_three_labelers_goes_to_a_reviewer_once(ledger: Ledger, settings: WorkerSettings) -> None:
    comparison = open_comparison(ledger, overlap=3)
    for name, ranking in (("a", RIGHT), ("b", WRONG), ("c", [[1], [3], [0], [2]])):
        say(ledger, comparison.id, name, ranking)
    assert audit(ledger, settings)["reviews"] == 1
    (review,) = reviews.open_reviews(ledger)
    assert (review.item_id, review.reason) == (comparison.id, "disagreement")
    say(ledger, open_comparison(ledger).id, "a", RIGHT)
    rested(ledger)
    assert "reviews" not in audit(ledger, settings)


def test_what_three_agree_on_checks_others(ledger: Ledger, settings: WorkerSettings) -> None:
    queues.put(ledger, "training", gold_percent=5, repeat_percent=0)
    comparison = open_comparison(ledger, overlap=3)
    for name in "abc":
        say(ledger, comparison.id, name, RIGHT, quality=[7, 5, 3, 1])
    say(ledger, open_comparison(ledger).id, "lee", RIGHT)
    ledger.redis.sadd(keys.seen("a"), comparison.id)
    done = audit(ledger, settings)
    assert done["gold"] == 1
    assert [check.source for check in gold.all_checks(ledger)] == ["consensus"]
    assert done["checks"] == 1
    (copy,) = ledger.redis.lrange(keys.checks("lee"), 0, -1)
    assert comparisons.get(ledger, copy).check_of == comparison.id
    assert ledger.redis.llen(keys.checks("a")) == 0


def test_nothing_is_prepared_where_no_queue_asks_for_checks(ledger: Ledger, settings: WorkerSettings) -> None:
    for name in ("training", "agreement", "evaluation"):
        queues.put(ledger, name, gold_percent=0, repeat_percent=0)
    checked(ledger, "kim", 1, RIGHT)
    say(ledger, open_comparison(ledger).id, "lee", RIGHT)
    assert "checks" not in audit(ledger, settings)


def test_nobody_paused_and_nobody_long_gone_gets_checks(ledger: Ledger, settings: WorkerSettings) -> None:
    queues.put(ledger, "training", gold_percent=5, repeat_percent=0)
    checked(ledger, "kim", 1, RIGHT)
    for name, age in (("gone", timedelta(days=8)), ("out", timedelta()), ("lee", timedelta())):
        comparison = open_comparison(ledger)
        label = make_label(comparison, labeler=name, created_at=utc_now() - age)
        ledger.redis.xadd(keys.LABELS, {"record": encode(label)})
    labelers.pause(ledger, "out", "olga", "on leave")
    audit(ledger, settings)
    assert [bool(ledger.redis.llen(keys.checks(name))) for name in ("gone", "out", "lee")] == [False, False, True]


def test_gold_stops_at_its_number(ledger: Ledger) -> None:
    for _ in range(3):
        comparison = open_comparison(ledger, overlap=3)
        for name in "abc":
            say(ledger, comparison.id, name, RIGHT, quality=[7, 5, 3, 1])
    assert audit(ledger, WorkerSettings(consensus_gold=2))["gold"] == 2
