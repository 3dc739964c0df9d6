"""Answers of labelers over HTTP on a real ledger: taken once, checked, corrected, kept as drafts."""

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from feedback import demonstrations, labels

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
    assert answer.json() == {"id": label.id, "revise_until_s": pytest.approx(time.time() + 900, abs=5)}
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
    first, second = (world.call("POST", path, body, role="labeler") for _ in range(2))
    assert first.content == second.content
    assert [answer.headers.get("Idempotent-Replayed") for answer in (first, second)] == [None, "true"]
    assert first.json()["id"] == body["submission_id"]
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


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"ranking": [[0]]}, None),
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
