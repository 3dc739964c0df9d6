"""Erasures over HTTP: a customer's own, an operator's of anybody, and nobody else's business."""

import time
from typing import TYPE_CHECKING

import pytest

from feedback import erasure, interactions, keys, promotion, prompts, tallies, tombstones
from feedback.curation import text_of
from feedback.records import utc_now
from serve.routes.privacy import PREVIEWS_PER_MINUTE
from tests.builders import make_interaction, make_prompt

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "/v1/erasures"
PREVIEW = "/v1/privacy/preview"


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


def test_a_preview_shows_the_masked_text_and_stores_nothing(world: "World") -> None:
    text = "Write to ada@lovelace.org, or to +49 30 901820, please; ada@lovelace.org is better."
    found = world.call("POST", PREVIEW, {"text": text}, role="client").json()
    assert found["kept"]
    assert found["text"] == "Write to <EMAIL_1>, or to <PHONE_1>, please; <EMAIL_1> is better."
    assert found["masked"] == {"email": 2, "phone": 1}
    assert (found["use_case"], found["language"]) == ("generation", "en")
    assert prompts.count(world.ledger) == 0
    assert interactions.count(world.ledger) == 0


@pytest.mark.parametrize(
    ("text", "reason"), [("ab", "too short"), ("x" * 4001, "too long"), ("\x00\x01\x02\x03", "not text")]
)
def test_a_preview_says_why_a_text_would_not_be_kept_and_shows_nothing(world: "World", text: str, reason: str) -> None:
    found = world.call("POST", PREVIEW, {"text": text}, role="client").json()
    assert (found["kept"], found["reason"]) == (False, reason)
    assert found["explanation"]
    assert "text" not in found


def test_a_preview_knows_the_callers_own_cap_and_nobody_elses_prompts(world: "World") -> None:
    full = world.deps.settings.prompts_per_customer
    world.ledger.redis.hset(keys.PROMPT_CUSTOMERS, mapping={"ada": full, "bob": full - 1})
    said = make_prompt("What is a fruit?", customer="eve")
    assert prompts.keep(world.ledger, said, text_of(said.messages), 10) == "kept"
    mine = world.call("POST", PREVIEW, {"text": "What is a fruit?"}, role="client").json()
    assert (mine["kept"], mine["reason"]) == (False, "customer cap")
    assert world.call("POST", PREVIEW, {"text": "What is a fruit?"}, role="client", owner="bob").json()["kept"]


def test_previews_are_limited_in_number_and_length(world: "World") -> None:
    assert world.call("POST", PREVIEW, {"text": "x" * 20_001}, role="client").status_code == 400
    key_id = world.call("GET", "/v1/me", role="client").json()["key_id"]
    window = int(time.time() // tallies.MINUTE_S)
    for each in (window, window + 1):  # a minute may begin meanwhile
        world.ledger.redis.set(keys.tally("preview", key_id, each), PREVIEWS_PER_MINUTE - 1, ex=120)
    assert world.call("POST", PREVIEW, {"text": "?"}, role="client").status_code == 200
    for each in (window, window + 1):
        world.ledger.redis.set(keys.tally("preview", key_id, each), PREVIEWS_PER_MINUTE, ex=120)
    refused = world.call("POST", PREVIEW, {"text": "?"}, role="client")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
