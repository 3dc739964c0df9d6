"""A draft is kept for a week, one per labeler and item, within a bound."""

import pytest

from feedback import drafts, keys
from feedback.client import Ledger
from feedback.errors import InvalidRecord


def test_the_last_draft_counts_and_each_labeler_has_their_own(ledger: Ledger) -> None:
    drafts.put(ledger, "ada", "cmp_1", '{"note":"a"}')
    drafts.put(ledger, "ada", "cmp_1", '{"note":"b"}')
    drafts.put(ledger, "bob", "cmp_1", "{}")
    assert drafts.get(ledger, "ada", "cmp_1") == '{"note":"b"}'
    assert drafts.get(ledger, "bob", "cmp_1") == "{}"
    assert drafts.get(ledger, "ada", "cmp_2") is None
    assert ledger.redis.smembers(keys.drafts("cmp_1")) == {"ada", "bob"}


def test_it_is_kept_for_a_week(ledger: Ledger) -> None:
    drafts.put(ledger, "ada", "cmp_1", "{}")
    for key in (keys.draft("ada", "cmp_1"), keys.drafts("cmp_1")):
        assert drafts.KEPT_S - 5 <= ledger.redis.ttl(key) <= drafts.KEPT_S


def test_it_is_counted_in_bytes(ledger: Ledger) -> None:
    drafts.put(ledger, "ada", "cmp_1", "x" * drafts.MOST_BYTES)
    with pytest.raises(InvalidRecord, match="65538 bytes"):
        drafts.put(ledger, "ada", "cmp_1", "\u00e9" * (drafts.MOST_BYTES // 2 + 1))
    assert drafts.get(ledger, "ada", "cmp_1") == "x" * drafts.MOST_BYTES


def test_one_that_is_dropped_is_gone(ledger: Ledger) -> None:
    drafts.put(ledger, "ada", "cmp_1", "{}")
    drafts.drop(ledger, "ada", "cmp_1")
    assert drafts.get(ledger, "ada", "cmp_1") is None
    assert ledger.redis.exists(keys.drafts("cmp_1")) == 0
