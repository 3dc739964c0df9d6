"""Erasures over HTTP: a customer's own, an operator's of anybody, and nobody else's business."""

from typing import TYPE_CHECKING

import pytest

from feedback import erasure, interactions, promotion, tombstones
from feedback.records import utc_now
from tests.builders import make_interaction

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "/v1/erasures"


def test_a_customer_takes_back_what_it_sent_and_reads_its_receipt(world: "World") -> None:
    asked = world.call("POST", PATH, role="client")
    assert asked.status_code == 202
    receipt = asked.json()
    assert (receipt["customer"], receipt["actor"], receipt["state"], receipt["passes"]) == ("ada", "ada", "running", 0)
    assert set(tombstones.read(world.ledger).by_customer) == {"ada"}
    assert world.call("GET", f"{PATH}/{receipt['id']}", role="client").json() == receipt


def test_from_the_request_on_nothing_older_is_logged(world: "World") -> None:
    old = make_interaction(customer="ada", created_at=utc_now())
    world.call("POST", PATH, {}, role="client")
    assert not interactions.append(world.ledger, old)
    assert list(interactions.read(world.ledger)) == []


def test_the_receipt_follows_the_workers(world: "World") -> None:
    interactions.append(world.ledger, make_interaction(customer="ada", created_at=utc_now()))
    id = world.call("POST", PATH, role="client").json()["id"]
    erasure.work_on_all(world.ledger, world.deps.settings.artifact_root)
    found = world.call("GET", f"{PATH}/{id}", role="client").json()
    assert (found["passes"], found["counts"]) == (1, {"interactions": 1})


def test_a_customer_cannot_erase_another_nor_read_its_receipt(world: "World") -> None:
    refused = world.call("POST", PATH, {"customer": "bob"}, role="client")
    assert refused.status_code == 403
    assert tombstones.read(world.ledger).by_customer == {}
    id = world.call("POST", PATH, {"customer": "ada"}, role="client").json()["id"]
    assert world.call("GET", f"{PATH}/{id}", role="client", owner="bob").status_code == 404
    assert world.call("GET", f"{PATH}/era_none", role="client").status_code == 404


def test_an_operator_erases_anybody_and_the_audit_says_so(world: "World") -> None:
    asked = world.call("POST", PATH, {"customer": "bob"}, role="operator", owner="olga")
    assert asked.status_code == 202
    assert world.call("GET", f"{PATH}/{asked.json()['id']}", role="operator").json()["customer"] == "bob"
    assert [(each.actor, each.action, each.subject) for each in promotion.audit(world.ledger)] == [
        ("olga", "erase requested", "bob")
    ]


@pytest.mark.parametrize("role", ["labeler", "metrics"])
def test_nobody_else_may(world: "World", role: str) -> None:
    assert world.call("POST", PATH, role=role).status_code == 403
    assert world.call("GET", f"{PATH}/era_1", role=role).status_code == 403


@pytest.mark.parametrize("body", [{"customer": 3}, {"who": "bob"}, {"customer": "x\x00"}, {"customer": "x" * 201}, []])
def test_what_is_no_request_is_refused(world: "World", body: object) -> None:
    assert world.call("POST", PATH, body, role="operator").status_code == 400
    assert tombstones.read(world.ledger).by_customer == {}
