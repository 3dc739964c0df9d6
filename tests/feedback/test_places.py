"""Places for samplers: so many at once, and only the holder renews or leaves."""

from feedback import places
from feedback.client import Ledger


def test_only_so_many_samplers_run_at_once(ledger: Ledger) -> None:
    assert [places.take(ledger, 2, token, 60) for token in ("a", "b", "c")] == [0, 1, None]
    assert places.renew(ledger, 0, "a", 60)
    assert not places.renew(ledger, 0, "b", 60)
    places.leave(ledger, 0, "b")
    assert places.take(ledger, 2, "c", 60) is None
    places.leave(ledger, 0, "a")
    assert places.take(ledger, 2, "c", 60) == 0
