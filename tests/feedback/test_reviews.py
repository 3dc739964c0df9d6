"""Reviews: an item is held once, resolved once, and its labels are never touched."""

import pytest

from feedback import comparisons, keys, leases, promotion, reviews
from feedback.client import Ledger
from feedback.errors import Conflict, InvalidRecord, NotFound
from feedback.records import Comparison
from tests.builders import make_completion, make_prompt

pytestmark = pytest.mark.redis
RANKING = [[1], [0, 2], [3]]


@pytest.fixture
def item(ledger: Ledger) -> Comparison:
    """A comparison that waits in the training queue for two labelers."""
    planned = comparisons.plan(ledger, make_prompt(), 4, overlap=2)
    comparisons.complete(ledger, planned, [make_completion(f"Fruit {index}.") for index in range(4)])
    return comparisons.get(ledger, planned.id)


def held(ledger: Ledger, item_id: str) -> str | None:
    with ledger.reach() as client:
        found: str | None = client.hget(keys.item(item_id), "held")
    return found


def test_an_item_under_review_is_given_to_nobody(ledger: Ledger, item: Comparison) -> None:
    assert reviews.open_review(ledger, item.id, "report", "illegal: it asks for a weapon")
    assert leases.lease(ledger, "training", "lee") is None
    assert held(ledger, item.id) == "report"
    assert [(each.item_id, each.reason) for each in reviews.open_reviews(ledger)] == [(item.id, "report")]
    assert reviews.open_count(ledger) == 1


def test_opening_again_adds_what_was_said_and_nothing_else(ledger: Ledger, item: Comparison) -> None:
    assert reviews.open_review(ledger, item.id, "skips", "broken")
    assert not reviews.open_review(ledger, item.id, "report", "personal data")
    assert not reviews.open_review(ledger, item.id, "skips", "broken")
    review = reviews.get(ledger, item.id)
    assert (review.reason, review.details) == ("skips", ["broken", "personal data"])
    for number in range(100):
        reviews.open_review(ledger, item.id, "report", f"detail {number}")
    assert len(reviews.get(ledger, item.id).details) == reviews.MOST_DETAILS


def test_a_lease_that_ends_during_the_review_does_not_bring_the_item_back(ledger: Ledger, item: Comparison) -> None:
    lease = leases.lease(ledger, "training", "lee")
    assert lease is not None
    reviews.open_review(ledger, item.id, "report")
    assert leases.expire(ledger, now=lambda: lease.deadline_s + 1) == 1
    assert leases.lease(ledger, "training", "kim") is None
    reviews.resolve(ledger, item.id, "reopened", "olga")
    assert leases.lease(ledger, "training", "kim") is not None
    assert leases.lease(ledger, "training", "max") is not None
    assert leases.lease(ledger, "training", "pat") is None, "two slots were left, not more"


def test_a_reopened_item_goes_back_with_the_slots_that_are_left(ledger: Ledger, item: Comparison) -> None:
    assert leases.lease(ledger, "training", "lee") is not None
    reviews.open_review(ledger, item.id, "skips")
    assert reviews.slots_left(ledger, item.id) == 1
    reviews.resolve(ledger, item.id, "reopened", "olga")
    assert held(ledger, item.id) is None
    assert leases.lease(ledger, "training", "kim") is not None
    assert leases.lease(ledger, "training", "max") is None


@pytest.mark.parametrize("verdict", ["ranked", "discarded"])
def test_what_is_ranked_or_discarded_stays_out_for_good(ledger: Ledger, item: Comparison, verdict: str) -> None:
    reviews.open_review(ledger, item.id, "disagreement")
    reviews.resolve(ledger, item.id, verdict, "olga", ranking=RANKING)  # type: ignore[arg-type]
    assert leases.lease(ledger, "training", "kim") is None
    assert not reviews.open_review(ledger, item.id, "report", "again")
    assert reviews.open_reviews(ledger) == []
    assert reviews.discarded(ledger) == ({item.id} if verdict == "discarded" else set())


def test_a_ranking_is_a_record_of_its_own(ledger: Ledger, item: Comparison) -> None:
    reviews.open_review(ledger, item.id, "disagreement")
    reviews.resolve(ledger, item.id, "ranked", "olga", ranking=RANKING, note="B follows it", labels=["s1", "s2"])
    [said] = reviews.adjudications(ledger).values()
    assert (said.comparison_id, said.reviewer, said.ranking) == (item.id, "olga", RANKING)
    assert (said.note, said.labels) == ("B follows it", ["s1", "s2"])
    assert ledger.redis.xlen(keys.LABELS) == 0
    entry = list(promotion.audit(ledger))[-1]
    assert (entry.actor, entry.action, entry.subject) == ("olga", "review: ranked", item.id)
    assert entry.reason == "", "the audit outlives an erasure, so nothing is quoted in it"


def test_the_first_word_counts_and_the_same_word_again_is_fine(ledger: Ledger, item: Comparison) -> None:
    reviews.open_review(ledger, item.id, "disagreement")
    first = reviews.resolve(ledger, item.id, "ranked", "olga", ranking=RANKING)
    assert reviews.resolve(ledger, item.id, "ranked", "olga", ranking=RANKING) == first
    for verdict, reviewer, ranking in (
        ("discarded", "olga", None),
        ("ranked", "oleg", RANKING),
        ("ranked", "olga", [[0], [1], [2], [3]]),
    ):
        with pytest.raises(Conflict, match="the first word counts"):
            reviews.resolve(ledger, item.id, verdict, reviewer, ranking=ranking)  # type: ignore[arg-type]
    assert len(list(reviews.read(ledger))) == 1
    assert len(list(promotion.audit(ledger))) == 1


def test_what_a_reviewer_reopened_is_not_held_again_for_the_same_disagreement(ledger: Ledger, item: Comparison) -> None:
    reviews.open_review(ledger, item.id, "disagreement")
    reviews.resolve(ledger, item.id, "reopened", "olga")
    assert not reviews.open_review(ledger, item.id, "disagreement")
    assert reviews.open_review(ledger, item.id, "report", "personal data")
    assert reviews.get(ledger, item.id).details == ["personal data"]


def test_an_item_without_a_queue_can_be_reviewed_too(ledger: Ledger) -> None:
    assert reviews.open_review(ledger, "cmp_imported", "disagreement")
    assert not ledger.redis.exists(keys.item("cmp_imported"))
    reviews.resolve(ledger, "cmp_imported", "reopened", "olga")
    assert reviews.get(ledger, "cmp_imported").state == "reopened"


def test_what_is_not_under_review_cannot_be_resolved(ledger: Ledger, item: Comparison) -> None:
    with pytest.raises(NotFound):
        reviews.resolve(ledger, item.id, "discarded", "olga")
    with pytest.raises(NotFound):
        reviews.get(ledger, item.id)
    reviews.open_review(ledger, item.id, "skips")
    with pytest.raises(InvalidRecord):
        reviews.resolve(ledger, item.id, "ranked", "olga")
