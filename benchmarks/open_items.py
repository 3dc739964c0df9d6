"""Many open comparisons at once, as the ledger would hold them had they been sampled: written inside Redis.

Knows the keys of an open comparison; a test compares what is written with what `feedback.comparisons` writes.
"""

from __future__ import annotations

import time

from feedback import keys
from feedback.client import Ledger, encode
from feedback.records import Comparison, Completion, Message, utc_now

CHUNK = 5_000
K = 4
SCRIPT = """
local stamp, first, last, queue, overlap, at, before, after = unpack(ARGV)
for n = tonumber(first), tonumber(last) do
  local id = string.format('cmp_%s7%019x', stamp, n)
  local place = string.format('%.4f', tonumber(at) + n * 1e-4)
  redis.call('SET', KEYS[1] .. id, before .. id .. after)
  redis.call('HSET', KEYS[2] .. id, 'queue', queue, 'slots', overlap, 'score', place, 'token', 0, 'labels', 0)
  redis.call('ZADD', KEYS[3], place, id)
end
"""


def fill(ledger: Ledger, count: int, *, overlap: int = 1, queue: str = "training") -> list[str]:
    """Open this many comparisons and return their ids, oldest first.

    The ledger syncs its log each second instead of at each write meanwhile; what it holds afterwards is the same.
    """
    stamp, at = f"{time.time_ns() // 1_000_000:012x}", f"{time.time():.4f}"
    before, after = encode(example("ID", overlap)).split("ID", 1)
    places = [keys.comparison(""), keys.item(""), keys.queue(queue)]
    run = ledger.redis.register_script(SCRIPT)
    ledger.redis.config_set("appendfsync", "everysec")
    try:
        for first in range(0, count, CHUNK):
            last = min(first + CHUNK, count) - 1
            run(places, [stamp, first, last, queue, overlap, at, before, after])
    finally:
        ledger.redis.config_set("appendfsync", "always")
    return [f"cmp_{stamp}7{number:019x}" for number in range(count)]


def example(id: str, overlap: int = 1) -> Comparison:
    """Return a comparison of K completions of about forty words."""
    words = "Take the bread out of the oven when it sounds hollow, let it rest on a rack and do not cut it warm."
    return Comparison(
        id=id,
        created_at=utc_now(),
        prompt_id="pro_0",
        customer="acme",
        messages=[Message(role="user", content="How do I know that my bread is done, and what do I do then?")],
        split="train",
        k=K,
        overlap=overlap,
        completions=[
            Completion(
                text=f"{words} {words} ({index})",
                policy_version="policy-0001",
                seed=index,
                temperature=1.0,
                finished=True,
            )
            for index in range(K)
        ],
    )
