"""The bad-input catalogue, rows 78, 79, 89 to 91 and 93: the queue from the side of a labeler who pushes.

What labelers submit (rows 80 to 88 and 92) is in `test_labeler_answers`.
"""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedback import comparisons, keys, leases, metrics, reviews
from feedback.client import Ledger
from feedback.records import Comparison
from tests.builders import make_comparison, make_completion
from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
ROWS = {78, 79, 89, 90, 91, 93}
MOST, SKIPS, FLAGGED, REPORTS = 3, 6, 4, 2
ORIGIN = {"Origin": "http://testserver"}


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(
        ledger, tmp_path, most_leases=MOST, skips_per_day=SKIPS, skips_flagged=FLAGGED, reports_per_day=REPORTS
    )


def following(world: World, owner: str = "ada", queue: str = "training") -> Any:
    return world.call("POST", "/v1/labeling/next", {"queue": queue}, role="labeler", owner=owner)


def move(world: World, item: dict[str, Any], verb: str, owner: str = "ada", **fields: Any) -> Any:
    path = f"/v1/labeling/items/{item['item_id']}/{verb}"
    return world.call("POST", path, {"token": item["token"], **fields}, role="labeler", owner=owner)


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every name in a JSON value with what stands under it."""
    for name, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield str(name), each
        yield from walk(each)


def test_every_row_has_a_test() -> None:
    covered = {int(found[1]) for name in globals() if (found := re.match(r"test_row_(\d+)_", name))}
    assert covered == ROWS


@pytest.mark.parametrize("queue", ["training", "agreement", "evaluation", "demonstration"])
def test_row_78_an_empty_queue_answers_with_nothing(world: World, queue: str) -> None:
    answer = following(world, queue=queue)
    assert (answer.status_code, answer.content) == (204, b"")


def test_row_79_a_hundred_asks_at_once_give_as_many_leases_as_are_allowed(world: World) -> None:
    for _ in range(20):
        world.comparison(k=2)
    world.secret("labeler")
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(following(world))) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = [answer.json()["item_id"] for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(given) == len(set(given)) == MOST
    assert len(refused) == 100 - MOST
    assert {answer.status_code for answer in refused} == {429}
    assert {answer.json()["error"]["code"] for answer in refused} == {"too_many_leases"}
    assert all(1 <= int(answer.headers["retry-after"]) <= 1200 for answer in refused)
    assert leases.live(world.ledger) == MOST


def test_row_89_who_skips_everything_is_flagged_and_then_stopped(world: World) -> None:
    for _ in range(SKIPS + 3):
        world.comparison(k=2)
    before = metrics.labelers_flagged_total.labels("skips")._value.get()
    for count in range(1, SKIPS + 1):
        assert move(world, following(world).json(), "skip", reason="other").status_code == 200
        flagged = world.call("GET", "/v1/operations/queues", role="operator").json()["skipping"]
        assert flagged == ({"ada": count} if count >= FLAGGED else {})
    assert metrics.labelers_flagged_total.labels("skips")._value.get() == before + 1, "once a day"
    item = following(world).json()
    stopped = move(world, item, "skip", reason="other")
    assert (stopped.status_code, stopped.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert leases.held(world.ledger, item["item_id"], "ada") is not None, "the item stays until it runs out"
    assert move(world, following(world, "bob").json(), "skip", "bob", reason="other").status_code == 200, "others go on"
    assert reviews.open_count(world.ledger) == 0, "one person cannot send items to review by skipping"


def test_row_89_who_reports_everything_is_stopped(world: World) -> None:
    for _ in range(REPORTS + 2):
        world.comparison(k=2)
    for _ in range(REPORTS):
        assert move(world, following(world).json(), "report", reason="illegal").status_code == 200
    stopped = move(world, following(world).json(), "report", reason="illegal")
    assert stopped.status_code == 429
    assert 1 <= int(stopped.headers["retry-after"]) <= 86_400
    assert reviews.open_count(world.ledger) == REPORTS
    assert following(world, "bob").status_code == 200, "the rest of the queue is open"


@pytest.mark.parametrize("verb", ["heartbeat", "skip", "report", "return"])
def test_row_90_an_item_of_somebody_else_looks_like_one_that_is_not_there(world: World, verb: str) -> None:
    world.comparison(k=2)
    theirs = following(world, "bob").json()
    fields = {"skip": {"reason": "other"}, "report": {"reason": "other"}}.get(verb, {})
    unknown = {**theirs, "item_id": "cmp_" + "0" * 32}
    walked = [move(world, item, verb, **fields) for item in (theirs, unknown)]
    assert [answer.status_code for answer in walked] == [409, 409]
    texts = [answer.text.replace(item["item_id"], "ID") for answer, item in zip(walked, (theirs, unknown), strict=True)]
    assert texts[0] == texts[1]
    assert reviews.open_count(world.ledger) == 0
    assert move(world, theirs, "heartbeat", "bob").status_code == 200, "the lease is as it was"


def test_row_90_no_route_shows_an_item_by_its_id(world: World) -> None:
    comparison = world.comparison(k=2)
    for path in (f"/v1/labeling/items/{comparison.id}", f"/v1/labeling/items/{comparison.id}/draft"):
        assert world.call("GET", path, role="labeler").status_code in (404, 405)


def blind(world: World, comparison: Comparison, queue: str) -> tuple[dict[str, Any], Any]:
    """Open a comparison to ada, lease it, and return the item and the answer."""
    assert comparisons.add(world.ledger, comparison)
    leases.open_item(world.ledger, comparison.id, queue, 1, 0)
    if queue == "checks":
        world.ledger.redis.rpush(keys.checks("ada"), comparison.id)
    for number in range(200):  # a check comes with a chance of 40 in 100, in the place of another item
        if queue == "checks":
            leases.open_item(world.ledger, f"cmp_other{number}", "training", 1, 0)
            assert comparisons.add(world.ledger, msgspec.structs.replace(comparison, id=f"cmp_other{number}"))
        answer = following(world)
        if answer.status_code == 200 and answer.json()["item_id"] == comparison.id:
            return answer.json(), answer
        assert answer.status_code == 200
        move(world, answer.json(), "return")
    raise AssertionError("nothing was given")


def test_row_91_no_answer_tells_policy_order_check_or_why(world: World) -> None:
    secret = ("policy-666777888", "policy-667777888")  # long: three digits stand in some random id
    made = [make_completion(f"text {i}", policy_version=secret[i % 2], seed=424242424 + i) for i in range(4)]
    plain = make_comparison(k=4, completions=made, customer="acme", models=["live", "sft"])
    check = make_comparison(k=4, completions=made, customer="acme", purpose="gold", check_of=plain.id)
    seen = {}
    world.call("PUT", "/v1/operations/queues/training", {"gold_percent": 20, "repeat_percent": 20}, role="operator")
    for name, comparison, queue in (("plain", plain, "training"), ("check", check, "checks")):
        item, answer = blind(world, comparison, queue)
        for word in (
            "666777888",
            "667777888",
            "4242424",
            "acme",
            "sft",
            "gold",
            "check",
            "oldest",
            "picked",
            "seed",
            "policy",
        ):
            assert word not in answer.text, word
            assert word not in str(answer.headers), word
        seen[name] = ({each for each, _ in walk(item)}, sorted(answer.headers))
        done = move(world, item, "submit", submission_id="0" * 31 + str(len(seen)), ranking=[[0], [1], [2], [3]])
        assert done.status_code == 200
        seen[name] += (sorted(done.headers), sorted(done.json()))
    assert seen["plain"] == seen["check"]


def test_row_93_a_post_from_another_origin_is_refused_even_with_the_cookie(world: World) -> None:
    world.comparison(k=2)
    opened = world.client.post("/v1/sessions", json={"key": world.secret("labeler")}, headers=ORIGIN).json()
    token = {"X-CSRF-Token": opened["csrf_token"]}
    for headers in (
        {"Origin": "https://evil.example", **token},
        {"Origin": "null", **token},
        token,
        ORIGIN,
        {**ORIGIN, "X-CSRF-Token": "guess"},
    ):
        refused = world.client.post("/v1/labeling/next", json={}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden"), headers
    assert leases.live(world.ledger) == 0
    assert world.client.post("/v1/labeling/next", json={}, headers={**ORIGIN, **token}).status_code == 200
