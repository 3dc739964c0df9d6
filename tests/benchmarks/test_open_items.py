"""Open comparisons written past the client are what the ledger itself would have written."""

import pytest
import redis

from benchmarks.open_items import CHUNK, K, example, fill
from feedback import comparisons, keys, leases
from feedback.client import Ledger
from tests.builders import make_prompt


@pytest.mark.redis
def test_what_is_filled_in_is_what_sampling_would_have_opened(ledger: Ledger) -> None:
    (written,) = fill(ledger, 1, overlap=2)
    shown = example("cmp_1", overlap=2)
    planned = comparisons.plan(ledger, make_prompt(), K, overlap=2)
    (claim,) = comparisons.claim(ledger, 1, 60)
    assert comparisons.complete(ledger, planned, shown.completions, token=claim.token)
    states = [ledger.redis.hgetall(keys.item(id)) for id in (written, planned.id)]
    for state in states:
        float(state.pop("score"))
    assert states[0] == states[1]
    assert comparisons.get(ledger, written).completions == shown.completions
    assert ledger.redis.zrange(keys.queue("training"), 0, -1) == [written, planned.id]
    assert ledger.redis.zcard(keys.queue_partial("training")) == 0


@pytest.mark.redis
def test_all_of_many_are_there_and_every_write_is_synced_again(ledger: Ledger) -> None:
    count = CHUNK + 7
    assert len(set(fill(ledger, count))) == count
    assert leases.waiting(ledger, "training") == count
    assert ledger.redis.config_get("appendfsync") == {"appendfsync": "always"}


@pytest.mark.redis
def test_a_write_that_redis_refuses_is_an_error(ledger: Ledger) -> None:
    ledger.redis.set(keys.queue("training"), "no zset")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        fill(ledger, 1)
    assert ledger.redis.config_get("appendfsync") == {"appendfsync": "always"}
