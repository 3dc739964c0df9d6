"""Queues over HTTP: what operators change, and what labelers then get."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from feedback import access, keys, leases, promotion, queues
from feedback.client import Ledger

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World


pytestmark = pytest.mark.redis


def put(world: "World", name: str, **settings: Any) -> Any:
    return world.call("PUT", f"/v1/operations/queues/{name}", settings, role="operator")


def following(world: "World", queue: str, owner: str = "ada") -> Any:
    return world.call("POST", "/v1/labeling/next", {"queue": queue}, role="labeler", owner=owner)


def test_operators_see_all_queues_with_what_waits(world: "World") -> None:
    world.comparison()
    world.demonstration_request()
    found = world.call("GET", "/v1/operations/queues", role="operator").json()
    waiting = {each["name"]: each["waiting"] for each in found["queues"]}
    assert waiting == {"training": 1, "agreement": 0, "evaluation": 0, "demonstration": 1}
    assert found["skipping"] == {}


def test_a_change_is_kept_and_in_the_audit_and_counts_for_the_next_lease(world: "World") -> None:
    world.comparison()
    answer = put(world, "training", lease_s=30, daily_goal=240, ties=False)
    assert (answer.status_code, answer.json()["lease_s"], answer.json()["k"]) == (200, 30, 4)
    assert queues.get(world.ledger, "training").daily_goal == 240
    [entry] = [each for each in promotion.audit(world.ledger) if each.action == "change queue"]
    assert (entry.actor, entry.subject) == ("ada", "training")
    assert "lease_s 30" in entry.reason
    item = following(world, "training").json()
    assert item["rules"] == {"ties": False, "partial_order": True, "daily_goal": 240}
    lease = leases.held(world.ledger, item["item_id"], "ada")
    assert lease is not None
    assert lease.deadline_s - lease.leased_at_s == pytest.approx(30)


@pytest.mark.parametrize(
    ("name", "settings", "status"),
    [("checks", {}, 400), ("agreement", {"purpose": "training"}, 400), ("Bad", {}, 400), ("new", {"k": 1}, 400)],
)
def test_a_queue_that_makes_no_sense_is_refused(
    world: "World", name: str, settings: dict[str, Any], status: int
) -> None:
    assert put(world, name, **settings).status_code == status
    assert set(queues.configs(world.ledger)) == {"training", "agreement", "evaluation"}


def test_a_labeler_sees_the_queues_that_they_may_take_from_and_their_own_day(world: "World") -> None:
    put(world, "medical", needs=["medicine"], daily_cap=7)
    put(world, "training", daily_goal=3)
    world.comparison()
    world.comparison()
    item = following(world, "training").json()
    body = {"token": item["token"], "submission_id": "0" * 32, "ranking": [[0, 1, 2, 3]]}
    assert world.call("POST", f"/v1/labeling/items/{item['item_id']}/submit", body, role="labeler").status_code == 200
    following(world, "training")
    found = {each["name"]: each for each in world.call("GET", "/v1/labeling/queues", role="labeler").json()["queues"]}
    assert set(found) == {"training", "agreement", "evaluation", "demonstration"}
    assert found["training"] == {
        "name": "training",
        "kind": "comparison",
        "waiting": 0,
        "needs": [],
        "today": 1,
        "daily_goal": 3,
        "daily_cap": 0,
        "lease_s": 1200,
    }
    assert found["demonstration"]["kind"] == "demonstration"


def test_a_queue_with_needs_is_closed_to_others_whatever_they_ask(world: "World", ledger: Ledger) -> None:
    put(world, "medical", needs=["medicine"])
    leases.open_item(ledger, "cmp_x", "medical", 1, 1)
    refused = following(world, "medical")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert "medicine" in refused.json()["error"]["message"]
    world.secrets["labeler", "doc"], _ = access.create(ledger, "labeler", "doc", skills=["medicine"])
    names = world.call("GET", "/v1/labeling/queues", role="labeler", owner="doc").json()["queues"]
    assert "medical" in {each["name"] for each in names}


def test_a_daily_cap_says_to_come_back_tomorrow(world: "World") -> None:
    put(world, "training", daily_cap=1)
    world.comparison()
    world.comparison()
    assert following(world, "training").status_code == 200
    refused = following(world, "training")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "daily_cap")
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400


def test_more_items_at_a_time_than_allowed_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    from tests.serve.routes.conftest import World

    world = World(ledger, tmp_path, most_leases=2)
    for _ in range(3):
        world.comparison()
    assert [following(world, "training").status_code for _ in range(3)] == [200, 200, 429]
    assert following(world, "training").json()["error"]["code"] == "too_many_leases"


def test_checks_come_at_the_share_of_the_queue_and_look_like_the_rest(world: "World") -> None:
    check = world.comparison()
    waiting = world.comparison()
    ledger = world.ledger
    ledger.redis.zrem(keys.queue("training"), check.id)
    ledger.redis.hset(keys.item(check.id), "queue", "checks")
    ledger.redis.rpush(keys.checks("ada"), check.id)
    put(world, "training", gold_percent=20, repeat_percent=20)
    found = {}
    for _ in range(200):
        answer = following(world, "training")
        item = answer.json()
        found[item["item_id"]] = item
        held = leases.held(ledger, item["item_id"], "ada")
        assert held is not None
        leases.hand_back(ledger, item["item_id"], "ada", held.token)
    assert set(found) == {check.id, waiting.id}
    shapes = [{name: type(value).__name__ for name, value in item.items()} for item in found.values()]
    assert shapes[0] == shapes[1]
    assert {item["queue"] for item in found.values()} == {"training"}
