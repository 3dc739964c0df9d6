"""Tokens that keys used, by day."""

from datetime import date

from feedback import keys, usage
from feedback.client import Ledger

DAY = date(2026, 3, 1)


def test_counts_add_up_by_key_and_day(ledger: Ledger) -> None:
    assert usage.add(ledger, DAY, {"key_a": 3, "key_b": 4}) == {"key_a": 3, "key_b": 4}
    assert usage.add(ledger, DAY, {"key_a": 10, "key_c": 0}) == {"key_a": 13, "key_c": 0}
    assert usage.add(ledger, date(2026, 3, 2), {"key_a": 100}) == {"key_a": 100}
    assert 0 < ledger.redis.ttl(keys.usage(DAY)) <= usage.KEEP_S
