"""Answers of labelers over HTTP on a real ledger: taken once, checked, corrected, kept as drafts."""

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from feedback import demonstrations, labels, queues

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


def test_what_the_server_knows_is_not_the_clients_to_say(world: "World") -> None:
    comparison = world.comparison(k=4)
    item = lease(world)
    time.sleep(0.02)
    fields = {"ranking": [[0], [1], [2], [3]], "active_s": 80_000, "read_s": [80_000, 0, 0.001, 0.0]}
    assert submit(world, item, **fields, input="keys", proposal="accepted", guideline_version="1").status_code == 200
    [(_, label)] = list(labels.read(world.ledger))
    assert 0.02 <= label.total_s < 5
    assert label.active_s == pytest.approx(label.total_s, abs=0.002)
    assert label.read_s == pytest.approx([label.total_s, 0, 0.001, 0], abs=0.002)
    assert label.display_order == [each["index"] for each in item["completions"]]
    assert (label.purpose, label.picked) == (comparison.purpose, "oldest")
    assert (label.input, label.proposal) == ("keys", "accepted")
    assert (label.guideline_version, label.flag_set_version, label.revision) == ("1", "1", 0)


@pytest.mark.parametrize("fields", [{"guideline_version": "99"}, {"flag_set_version": "0"}])
def test_versions_that_do_not_exist_are_refused(world: "World", fields: dict[str, Any]) -> None:
    world.comparison(k=2)
    item = lease(world)
    refused = submit(world, item, ranking=[[0], [1]], **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(fields)))
    assert labels.count(world.ledger) == 0


@pytest.mark.parametrize("outcome", ["all_bad", "all_good"])
@pytest.mark.parametrize("ranking", [None, [], [[2, 0, 1]]])
def test_a_verdict_on_all_is_an_outcome_of_its_own_and_no_order(world: "World", outcome: str, ranking: Any) -> None:
    world.comparison(k=3)
    item = lease(world)
    body = {"outcome": outcome} | ({} if ranking is None else {"ranking": ranking})
    assert submit(world, item, **body).status_code == 200
    [(_, label)] = list(labels.read(world.ledger))
    assert label.outcome == outcome
    assert [sorted(group) for group in label.ranking] == [[0, 1, 2]]
    assert all(winner == "tie" for _, _, winner in labels.pairs(label.ranking))


def test_a_verdict_on_all_that_ranks_is_refused(world: "World") -> None:
    world.comparison(k=3)
    assert submit(world, lease(world), outcome="all_bad", ranking=[[0], [1, 2]]).status_code == 400


def rules(world: "World", **changes: Any) -> None:
    """Change the rules of the training queue, and wait until every route knows."""
    queues.put(world.ledger, "training", **changes)


@pytest.mark.parametrize(
    ("changes", "ranking", "status"),
    [
        ({"partial_order": True}, [[2], [0]], 200),
        ({"partial_order": False}, [[2], [0]], 400),
        ({"ties": True}, [[2, 1], [0]], 200),
        ({"ties": False}, [[2, 1], [0]], 400),
        ({"ties": False}, [[0, 1, 2]], 400),
        ({"ties": False}, [[2], [1], [0]], 200),
    ],
)
def test_the_queue_says_whether_completions_may_be_tied_or_left_out(
    world: "World", changes: dict[str, Any], ranking: list[list[int]], status: int
) -> None:
    rules(world, **changes)
    world.comparison(k=3)
    assert submit(world, lease(world), ranking=ranking).status_code == status
    assert labels.count(world.ledger) == (status == 200)


def test_a_retry_is_the_first_answer_whatever_the_rules_say_by_then(world: "World") -> None:
    world.comparison(k=3)
    item, same = lease(world), str(uuid.uuid4())
    first = submit(world, item, submission_id=same, ranking=[[0, 1]])
    rules(world, partial_order=False, ties=False)
    assert submit(world, item, submission_id=same, ranking=[[0, 1]]).content == first.content


def test_spans_and_flags_are_of_the_completions_and_of_the_flag_set(world: "World") -> None:
    world.comparison(k=2, texts=["caf\u00e9 au lait", "\U0001f600!"])
    item = lease(world)
    good = {"ranking": [[0], [1]], "spans": [{"completion": 1, "start": 0, "end": 2}], "flags": {"violent": [1]}}
    for changes in (
        {"spans": [{"completion": 1, "start": 0, "end": 3}]},
        {"spans": [{"completion": 0, "start": 4, "end": 4}]},
        {"spans": [{"completion": 2, "start": 0, "end": 1}]},
        {"flags": {"rude": [1]}},
        {"flags": {"violent": [2]}},
        {"read_s": [1.0]},
    ):
        assert submit(world, item, **{**good, **changes}).status_code == 400, changes
    assert submit(world, item, **good).status_code == 200
    [(_, label)] = list(labels.read(world.ledger))
    assert [(span.completion, span.start, span.end) for span in label.spans] == [(1, 0, 2)]


def test_nothing_is_taken_while_the_ledger_might_lose_it(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    world.ledger.redis.config_set("appendfsync", "everysec")
    try:
        refused = submit(world, item, ranking=[[0], [1]])
    finally:
        world.ledger.redis.config_set("appendfsync", "always")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_not_durable")
    assert int(refused.headers["Retry-After"]) >= 1
    assert "appendfsync" not in refused.text
    assert labels.count(world.ledger) == 0
