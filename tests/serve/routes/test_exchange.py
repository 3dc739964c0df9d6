"""Export and snapshots for operators: streamed, named, in the audit, and nothing but the known formats."""

import json
from pathlib import Path

import pytest

from feedback import labels, promotion, snapshots
from feedback.client import encode
from feedback.exchange import FORMATS
from serve.routes import exchange
from tests.builders import make_label
from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
WRITABLE = [name for name, each in FORMATS.items() if each.write]


@pytest.fixture
def labelled(world: World) -> World:
    """A world in which three comparisons were ranked."""
    for number in range(3):
        comparison = world.comparison(texts=[f"answer {number} {index}" for index in range(4)])
        world.ledger.redis.xadd("ws:labels", {"record": encode(make_label(comparison, quality=[7, 5, 3, 1]))})
    return world


@pytest.mark.parametrize("format", WRITABLE)
def test_every_format_streams_and_says_what_it_is(labelled: World, format: str) -> None:
    answer = labelled.call("GET", f"/v1/operations/export?format={format}", role="operator")
    array = FORMATS[format].array
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json" if array else "application/jsonl")
    assert f"whetstone-training.{format}." in answer.headers["content-disposition"]
    rows = json.loads(answer.text) if array else [json.loads(line) for line in answer.text.splitlines()]
    assert len(rows) == {"scores": 12, "trl": 18, "trl-conversational": 18}.get(format, 3)


def test_who_exported_what_is_in_the_audit(labelled: World) -> None:
    labelled.call("GET", "/v1/operations/export?format=trl&purpose=agreement", role="operator", owner="olga")
    last = list(promotion.audit(labelled.ledger))[-1]
    assert (last.actor, last.action, last.subject, last.reason) == ("olga", "export", "trl", "agreement")


def test_another_purpose_gives_an_empty_file(labelled: World) -> None:
    assert labelled.call("GET", "/v1/operations/export?purpose=evaluation", role="operator").text == ""


@pytest.mark.parametrize("query", ["format=csv", "format=*", "format=open-webui", "purpose=gold", "purpose=%24gt"])
def test_only_known_words_are_taken(world: World, query: str) -> None:
    answer = world.call("GET", f"/v1/operations/export?{query}", role="operator")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.split("=")[0]


@pytest.mark.parametrize("role", ["client", "labeler"])
def test_nobody_else_gets_data(world: World, role: str) -> None:
    for path in ("export", "snapshots"):
        assert world.call("GET", f"/v1/operations/{path}", role=role).status_code == 403


def test_rows_travel_in_pieces() -> None:
    rows = [b"x" * 1000] * 200
    pieces = list(exchange.joined(iter(rows)))
    assert b"".join(pieces) == b"".join(rows)
    assert len(pieces) == 4
    assert all(len(piece) >= exchange.PIECE_BYTES for piece in pieces[:-1])
    assert list(exchange.joined(iter([]))) == []


def test_snapshots_are_listed_with_counts_and_reasons(labelled: World, tmp_path: Path) -> None:
    made = [snapshots.build(labelled.ledger, tmp_path) for _ in range(2)]
    found = labelled.call("GET", "/v1/operations/snapshots?limit=1", role="operator").json()
    assert [each["id"] for each in found] == [made[1].id]
    assert found[0]["labels"] == labels.count(labelled.ledger) == 3
    assert found[0]["content_sha256"] == made[0].content_sha256
    assert labelled.call("GET", "/v1/operations/snapshots?limit=0", role="operator").status_code == 400
