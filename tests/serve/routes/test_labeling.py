"""Labeling over HTTP on a real ledger."""

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from feedback import comparisons, keys, labelers, labels, leases, metrics, reviews
from tests.builders import make_comparison

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World


pytestmark = pytest.mark.redis


def lease(world: "World", queue: str = "training", owner: str = "ada") -> dict[str, Any]:
    answer = world.call("POST", "/v1/labeling/next", {"queue": queue}, role="labeler", owner=owner)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def submit(world: "World", item: dict[str, Any], owner: str = "ada", **fields: Any) -> Any:
    body = {"token": item["token"], "submission_id": str(uuid.uuid4()), **fields}
    return world.call("POST", f"/v1/labeling/items/{item['item_id']}/submit", body, role="labeler", owner=owner)


def test_labeler_sees_texts_and_never_who_wrote_them(world: "World") -> None:
    comparison = world.comparison(k=4)
    answer = world.call("POST", "/v1/labeling/next", {"queue": "training"}, role="labeler")
    item = answer.json()
    assert item["item_id"] == comparison.id
    assert item["kind"] == "comparison"
    assert item["messages"] == [{"role": "user", "content": "Why is the sky blue?"}]
    assert item["deadline_s"] > time.time()
    assert all(set(each) == {"index", "text", "finished", "similar_to"} for each in item["completions"])
    assert {each["index"]: each["text"] for each in item["completions"]} == {i: f"answer {i}" for i in range(4)}
    assert "policy" not in answer.text
    assert "policy" not in str(answer.headers)


def test_order_of_completions_differs_between_labelers_and_items_and_is_a_fixed_function_of_both(
    world: "World",
) -> None:
    orders = {}
    for _ in range(6):
        world.comparison(k=9, overlap=2)
    for owner in ("ada", "bob"):
        for _ in range(6):
            item = lease(world, owner=owner)
            orders[item["item_id"], owner] = tuple(each["index"] for each in item["completions"])
    assert len(orders) == 12
    assert len(set(orders.values())) == 12


def test_empty_queue_is_204(world: "World") -> None:
    for queue in ("training", "agreement", "evaluation", "demonstration"):
        assert world.call("POST", "/v1/labeling/next", {"queue": queue}, role="labeler").status_code == 204


def test_lease_of_another_is_no_right_to_answer(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    refused = submit(world, item, owner="bob", ranking=[[0], [1]])
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "lease_lost"
    assert labels.count(world.ledger) == 0


def test_expired_lease_takes_no_answer_and_no_heartbeat(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    leases.renew(world.ledger, item["item_id"], "ada", item["token"], lease_s=0.01)
    time.sleep(0.02)
    path = f"/v1/labeling/items/{item['item_id']}"
    beat = world.call("POST", f"{path}/heartbeat", {"token": item["token"]}, role="labeler")
    assert (beat.status_code, beat.json()["error"]["code"]) == (409, "lease_lost")
    assert submit(world, item, ranking=[[0], [1]]).status_code == 409
    assert labels.count(world.ledger) == 0


def test_heartbeat_moves_the_deadline(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    path = f"/v1/labeling/items/{item['item_id']}/heartbeat"
    time.sleep(0.01)
    assert world.call("POST", path, {"token": item["token"]}, role="labeler").json()["deadline_s"] > item["deadline_s"]


def test_skipped_item_goes_to_somebody_else(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    path = f"/v1/labeling/items/{item['item_id']}/skip"
    body = {"token": item["token"], "reason": "language"}
    assert world.call("POST", path, body, role="labeler").status_code == 200
    assert world.call("POST", path, body, role="labeler").status_code == 409
    assert world.call("POST", "/v1/labeling/next", {"queue": "training"}, role="labeler").status_code == 204
    assert lease(world, owner="bob")["item_id"] == item["item_id"]


@pytest.mark.parametrize("item_id", ["cmp_none", "a" * 101, "..", "a b", "%00", "x%0Aws:keys", "%2e%2e%2f"])
@pytest.mark.parametrize("action", ["heartbeat", "submit", "skip"])
def test_item_that_is_not_there_is_a_clear_refusal(world: "World", item_id: str, action: str) -> None:
    body: dict[str, Any] = {"token": 1}
    if action == "submit":
        body |= {"submission_id": str(uuid.uuid4()), "ranking": [[0]]}
    if action == "skip":
        body |= {"reason": "other"}
    answer = world.call("POST", f"/v1/labeling/items/{item_id}/{action}", body, role="labeler")
    assert answer.status_code in (400, 404, 409)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def skip(world: "World", item: dict[str, Any], owner: str, reason: str = "language", note: str = "") -> Any:
    body = {"token": item["token"], "reason": reason, "note": note}
    return world.call("POST", f"/v1/labeling/items/{item['item_id']}/skip", body, role="labeler", owner=owner)


def test_an_item_that_three_labelers_skipped_goes_to_review_and_to_nobody_else(world: "World") -> None:
    comparison = world.comparison(k=2)
    for owner, note in (("ada", "Swedish?"), ("bob", ""), ("cy", "")):
        assert reviews.open_count(world.ledger) == 0
        assert skip(world, lease(world, owner=owner), owner, note=note).status_code == 200
    (review,) = reviews.open_reviews(world.ledger)
    assert (review.item_id, review.reason) == (comparison.id, "skips")
    assert sorted(review.details) == ["language", "language: Swedish?"]
    answer = world.call("POST", "/v1/labeling/next", {"queue": "training"}, role="labeler", owner="dan")
    assert answer.status_code == 204


def test_a_report_holds_an_item_for_everybody_and_alerts(world: "World") -> None:
    comparison = world.comparison(k=2, overlap=3)
    mine, theirs = lease(world), lease(world, owner="bob")
    path = f"/v1/labeling/items/{comparison.id}/report"
    body = {"token": mine["token"], "reason": "personal_data", "note": "a phone number"}
    before = metrics.reports_total.labels("personal_data")._value.get()
    assert world.call("POST", path, body, role="labeler").status_code == 200
    assert metrics.reports_total.labels("personal_data")._value.get() == before + 1
    (review,) = reviews.open_reviews(world.ledger)
    assert (review.item_id, review.reason) == (comparison.id, "report")
    assert review.details == ["personal_data: a phone number"]
    answer = world.call("POST", "/v1/labeling/next", {"queue": "training"}, role="labeler", owner="cy")
    assert answer.status_code == 204
    assert submit(world, theirs, owner="bob", ranking=[[0], [1]]).status_code == 200, "what was begun may be answered"
    again = world.call("POST", path, body, role="labeler")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "lease_lost")


def test_a_report_of_a_check_holds_what_it_repeats_too(world: "World") -> None:
    original = world.comparison(k=2, overlap=2)
    world.ledger.redis.zrem(keys.queue("training"), original.id)
    check = make_comparison(k=2, id="cmp_check", check_of=original.id, purpose="gold")
    assert comparisons.add(world.ledger, check)
    leases.open_item(world.ledger, check.id, "training", 1, 0)
    item = lease(world)
    body = {"token": item["token"], "reason": "illegal"}
    assert world.call("POST", f"/v1/labeling/items/{check.id}/report", body, role="labeler").status_code == 200
    assert {review.item_id for review in reviews.open_reviews(world.ledger)} == {check.id, original.id}


def test_an_item_that_was_fetched_ahead_can_be_handed_back(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    path = f"/v1/labeling/items/{item['item_id']}/return"
    assert world.call("POST", path, {"token": item["token"]}, role="labeler").status_code == 200
    assert world.call("POST", path, {"token": item["token"]}, role="labeler").status_code == 409
    assert lease(world)["item_id"] == item["item_id"]


def test_a_draft_comes_back_with_its_item(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    assert item["draft"] is None
    body = {"token": item["token"], "draft": {"ranks": [1, 2]}}
    assert world.call("PUT", f"/v1/labeling/items/{item['item_id']}/draft", body, role="labeler").status_code == 200
    leases.renew(world.ledger, item["item_id"], "ada", item["token"], lease_s=0.001)
    world.comparison(k=2)
    again = lease(world)
    assert (again["item_id"], again["draft"]) == (item["item_id"], {"ranks": [1, 2]})
    assert again["token"] > item["token"]


def test_an_item_that_was_erased_between_lease_and_look_is_passed_over(world: "World") -> None:
    gone = world.comparison(k=2)
    world.ledger.redis.delete(keys.comparison(gone.id))
    there = world.comparison(k=2)
    assert lease(world)["item_id"] == there.id
    world.ledger.redis.delete(keys.comparison(world.comparison(k=2).id))
    assert world.call("POST", "/v1/labeling/next", {"queue": "training"}, role="labeler").status_code == 204


def test_a_queue_that_is_not_there_is_not_found(world: "World") -> None:
    answer = world.call("POST", "/v1/labeling/next", {"queue": "nowhere"}, role="labeler")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_paused_labeler_is_given_nothing(world: "World") -> None:
    world.comparison(k=2)
    labelers.pause(world.ledger, "ada", "olga", "checks failed")
    answer = world.call("POST", "/v1/labeling/next", {}, role="labeler")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "paused")
