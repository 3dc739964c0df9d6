"""Labeling over HTTP on a real ledger."""

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from feedback import demonstrations, labels, leases

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
    assert all(set(each) == {"index", "text", "finished"} for each in item["completions"])
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


def test_ranking_lands_as_label_with_the_labelers_group_and_the_servers_time(world: "World") -> None:
    world.secret("labeler", "cara", group="held-out")
    comparison = world.comparison(k=4)
    item = lease(world, owner="cara")
    answer = submit(
        world,
        item,
        owner="cara",
        ranking=[[2], [0, 1], [3]],
        quality=[4, 4, 7, 1],
        flags={"hallucination": [3]},
        note="C is right",
        active_s=12.5,
    )
    assert answer.status_code == 200
    [(_, label)] = list(labels.read(world.ledger))
    assert answer.json() == {"id": label.id, "repeated": False}
    assert label.comparison_id == comparison.id
    assert (label.labeler, label.labeler_group) == ("cara", "held-out")
    assert label.ranking == [[2], [0, 1], [3]]
    assert label.quality == [4, 4, 7, 1]
    assert label.flags == {"hallucination": [3]}
    assert abs(label.created_at.timestamp() - time.time()) < 5


def test_repeated_submission_is_one_label(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    body = {"token": item["token"], "submission_id": str(uuid.uuid4()), "ranking": [[0], [1]]}
    path = f"/v1/labeling/items/{item['item_id']}/submit"
    first, second = (world.call("POST", path, body, role="labeler").json() for _ in range(2))
    assert (first["repeated"], second["repeated"]) == (False, True)
    assert first["id"] == second["id"] == body["submission_id"]
    assert labels.count(world.ledger) == 1


def test_submission_id_of_another_answer_is_a_conflict_and_nothing_is_lost(world: "World") -> None:
    world.comparison(k=2)
    world.comparison(k=2)
    same = str(uuid.uuid4())
    first, second = lease(world), lease(world)
    assert submit(world, first, ranking=[[0], [1]], submission_id=same).status_code == 200
    refused = submit(world, second, ranking=[[1], [0]], submission_id=same)
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "conflict"
    assert submit(world, second, ranking=[[1], [0]]).status_code == 200
    assert labels.count(world.ledger) == 2


def test_demonstration_is_written_once_for_its_prompt(world: "World") -> None:
    prompt = world.demonstration_request()
    item = lease(world, "demonstration")
    assert (item["item_id"], item["kind"], item["completions"]) == (prompt.id, "demonstration", [])
    assert submit(world, item, response="Rayleigh scattering.").status_code == 200
    [(_, found)] = list(demonstrations.read(world.ledger))
    assert (found.prompt_id, found.response, found.labeler) == (prompt.id, "Rayleigh scattering.", "ada")
    assert (found.customer, found.split) == (prompt.customer, prompt.split)


def test_empty_demonstration_is_refused_and_the_lease_lives_on(world: "World") -> None:
    world.demonstration_request()
    item = lease(world, "demonstration")
    assert submit(world, item, response="  \n").status_code == 400
    assert submit(world, item, response="Because.").status_code == 200


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


def test_own_work_is_counted(world: "World") -> None:
    me: dict[str, Any] = {"labeler": "ada", "group": "", "labels": 0, "labels_today": 0}
    me |= {"demonstrations": 0, "demonstrations_today": 0}
    assert world.call("GET", "/v1/labeling/me", role="labeler").json() == me
    for _ in range(2):
        world.comparison(k=2)
        submit(world, lease(world), ranking=[[0, 1]])
        me |= {"labels": me["labels"] + 1, "labels_today": me["labels_today"] + 1}
        assert world.call("GET", "/v1/labeling/me", role="labeler").json() == me
    world.demonstration_request()
    submit(world, lease(world, "demonstration"), response="Yes.")
    assert world.call("GET", "/v1/labeling/me", role="labeler").json()["demonstrations_today"] == 1
    assert world.call("GET", "/v1/labeling/me", role="labeler", owner="bob").json()["labels"] == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"ranking": [[0], [1], [2]]}, None),
        ({"ranking": [[0], [1], [1], [2]]}, None),
        ({"ranking": [[0], [1], [2], [3], []]}, None),
        ({"ranking": []}, None),
        ({"ranking": [[0], [1], [2], [9]]}, "ranking[3][0]"),
        ({"ranking": [[0], [1], [2], [-1]]}, "ranking[3][0]"),
        ({"ranking": [[0], [1], [2], [3.0]]}, "ranking[3][0]"),
        ({"ranking": [["0"], [1], [2], [3]]}, "ranking[0][0]"),
        ({"ranking": [[True], [1], [2], [3]]}, "ranking[0][0]"),
        ({"ranking": [0, 1, 2, 3]}, "ranking[0]"),
        ({"ranking": [[0, 1, 2, 3]] * 10_000}, "ranking"),
        ({"ranking": "ABCD"}, "ranking"),
        ({}, "ranking"),
        ({"ranking": [[0, 1, 2, 3]], "response": "x"}, "ranking"),
        ({"ranking": [[0, 1, 2, 3]], "quality": [1, 2, 3]}, None),
        ({"ranking": [[0, 1, 2, 3]], "quality": [1, 2, 3, 8]}, "quality[3]"),
        ({"ranking": [[0, 1, 2, 3]], "flags": {"<script>": [0]}}, None),
        ({"ranking": [[0, 1, 2, 3]], "flags": {"harmful": [4]}}, None),
        ({"ranking": [[0, 1, 2, 3]], "note": "\x1b[2J"}, "note"),
        ({"ranking": [[0, 1, 2, 3]], "note": "x" * 5000}, "note"),
        ({"ranking": [[0, 1, 2, 3]], "active_s": -1}, "active_s"),
        ({"ranking": [[0, 1, 2, 3]], "token": "1"}, "token"),
        ({"ranking": [[0, 1, 2, 3]], "token": 0}, "token"),
        ({"ranking": [[0, 1, 2, 3]], "submission_id": "mine"}, "submission_id"),
        ({"ranking": [[0, 1, 2, 3]], "submission_id": "../../etc"}, "submission_id"),
        ({"ranking": [[0, 1, 2, 3]], "labeler": "bob"}, "labeler"),
    ],
)
def test_unusable_submission_is_refused_by_name_and_stores_nothing(
    world: "World", fields: dict[str, Any], param: str | None
) -> None:
    world.comparison(k=4)
    item = lease(world)
    refused = submit(world, item, **fields)
    assert refused.status_code == 400, refused.text
    assert refused.json()["error"]["param"] == param
    assert labels.count(world.ledger) == 0
    assert submit(world, item, ranking=[[0, 1, 2, 3]]).status_code == 200


@pytest.mark.parametrize("item_id", ["cmp_none", "a" * 101, "..", "a b", "%00", "x%0Aws:keys", "%2e%2e%2f"])
@pytest.mark.parametrize("action", ["heartbeat", "submit", "skip"])
def test_item_that_is_not_there_is_a_clear_refusal(world: "World", item_id: str, action: str) -> None:
    body: dict[str, Any] = {"token": 1}
    if action == "submit":
        body |= {"submission_id": str(uuid.uuid4()), "ranking": [[0]]}
    if action == "skip":
        body |= {"reason": "x"}
    answer = world.call("POST", f"/v1/labeling/items/{item_id}/{action}", body, role="labeler")
    assert answer.status_code in (400, 404, 409)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
