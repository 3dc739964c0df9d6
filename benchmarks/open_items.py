"""Many open comparisons at once, as the ledger would hold them had they been sampled: written past the client.

Knows the keys of an open comparison; a test compares what is written with what `feedback.comparisons` writes.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from feedback import keys
from feedback.client import Ledger, encode
from feedback.ids import new_id
from feedback.records import Comparison, Completion, Message, utc_now

CHUNK = 5_000
K = 4


def fill(ledger: Ledger, port: int, count: int, *, overlap: int = 1, queue: str = "training") -> list[str]:
    """Open this many comparisons and return their ids, oldest first.

    The ledger syncs its log each second instead of at each write meanwhile; what it holds afterwards is the same.
    """
    ids = [new_id("cmp") for _ in range(count)]
    ledger.redis.config_set("appendfsync", "everysec")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for begin in range(0, count, CHUNK):
            part = ids[begin : begin + CHUNK]
            connection.sendall(b"".join(commands(part, overlap, queue, time.time())))
            _swallow(connection, 3 * len(part))
    ledger.redis.config_set("appendfsync", "always")
    return ids


def commands(ids: list[str], overlap: int, queue: str, at: float) -> Iterator[bytes]:
    """Yield the writes that open each comparison, in Redis' protocol."""
    template = example("ID", overlap)
    before, after = encode(template).split('"ID"', 1)
    for number, id in enumerate(ids):
        place = f"{at + number * 1e-4:.4f}"
        yield _command("SET", keys.comparison(id), f'{before}"{id}"{after}')
        state = {"queue": queue, "slots": str(overlap), "score": place, "token": "0", "labels": "0"}
        yield _command("HSET", keys.item(id), *(word for pair in state.items() for word in pair))
        yield _command("ZADD", keys.queue(queue), place, id)


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


def _command(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n%s" % (len(parts), b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))


def _swallow(connection: socket.socket, replies: int) -> None:
    """Read so many one-line replies.

    Raises:
        RuntimeError: one of them is an error.
    """
    seen = 0
    while seen < replies:
        text = connection.recv(1 << 16)
        if not text or text.startswith(b"-") or b"\n-" in text:
            raise RuntimeError(f"Redis refused a write: {text[:200]!r}")
        seen += text.count(b"\n")
