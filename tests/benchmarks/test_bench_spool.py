"""The benchmark of the spool would see a lost, a changed and a doubled record."""

from pathlib import Path

import msgspec
import pytest

from benchmarks.bench_spool import compare, fill
from benchmarks.chats import Chat
from benchmarks.common import Server
from feedback import interactions, keys
from feedback.client import Ledger, decode, encode
from feedback.records import Interaction
from serve.recording.spool import Spool
from tests.builders import make_interaction

pytestmark = pytest.mark.redis


def logged(ledger: Ledger, count: int) -> list[Chat]:
    """Log interactions; return them as their callers saw them."""
    made = [make_interaction(completion=f"answer {number}") for number in range(count)]
    for each in made:
        assert interactions.append(ledger, each)
    return [Chat(each.id, each.completion, 0.0, 0.1) for each in made]


@pytest.fixture
def server(ledger: Ledger, tmp_path: Path) -> Server:
    found = Server(tmp_path)
    found.ledger = ledger
    return found


def test_what_all_arrived_once_and_unchanged_is_clean(server: Server) -> None:
    assert compare(server, logged(server.ledger, 5)) == {"lost": 0, "different": 0, "duplicated": 0}


def test_what_is_missing_counts_as_lost(server: Server) -> None:
    seen = logged(server.ledger, 5)
    server.ledger.redis.xdel(keys.INTERACTIONS, next(interactions.read(server.ledger))[0])
    assert compare(server, seen)["lost"] == 1
    assert compare(server, [*seen, Chat("chatcmpl-never", "x", 0.0, 0.1)])["lost"] == 2


def test_what_is_there_twice_counts_as_duplicated(server: Server) -> None:
    seen = logged(server.ledger, 5)
    _, first = next(interactions.read(server.ledger))
    server.ledger.redis.xadd(keys.INTERACTIONS, {"id": first.id, "record": encode(first)})
    assert compare(server, seen) == {"lost": 0, "different": 0, "duplicated": 1}


def test_what_says_something_else_counts_as_different(server: Server) -> None:
    seen = logged(server.ledger, 5)
    changed = msgspec.structs.replace(make_interaction(id="chatcmpl-x"), completion="something")
    interactions.append(server.ledger, changed)
    assert compare(server, [*seen, Chat("chatcmpl-x", "something else", 0.0, 0.1)])["different"] == 1


def test_a_filled_spool_holds_records_that_the_relay_takes(tmp_path: Path) -> None:
    last = fill(tmp_path, 1500)
    spool = Spool(tmp_path, 256 << 20, 4 << 20)
    assert spool.found == 1500
    frames = spool.peek(10_000, 1 << 30)
    assert decode(frames[0].payload, Interaction).customer == "alice"
    assert frames[-1].id == last or len(frames) < 1500
    spool.close()
