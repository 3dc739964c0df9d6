"""A labeler's own answers: seen by nobody else, corrected for a while, each correction kept beside the first."""

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from feedback import demonstrations, erasure, labels, queues
from tests.serve.routes.test_answers import lease, submit

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World


pytestmark = pytest.mark.redis


def answered(world: "World", owner: str = "ada", **fields: Any) -> str:
    """Answer the next item and return the id of the submission."""
    fields = fields or {"ranking": [[0], [1]]}
    answer = submit(world, lease(world, owner=owner), owner=owner, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def revise(world: "World", id: str, owner: str = "ada", **fields: Any) -> Any:
    body = {"submission_id": str(uuid.uuid4()), **fields}
    return world.call("POST", f"/v1/labeling/labels/{id}/revise", body, role="labeler", owner=owner)


def look(world: "World", id: str = "", owner: str = "ada") -> Any:
    return world.call("GET", f"/v1/labeling/labels{'/' * bool(id)}{id}", role="labeler", owner=owner)


def after_the_window(world: "World", root: Path) -> "World":
    """Return the same world with the time for corrections over."""
    from tests.serve.routes.conftest import World

    later = World(world.ledger, root / "later", revise_s=0.0)
    later.secrets = world.secrets
    time.sleep(0.002)
    return later


def test_own_answers_are_listed_newest_first_and_shown_as_they_were_shown(world: "World") -> None:
    for _ in range(2):
        world.comparison(k=2)
    item = lease(world)
    first = str(submit(world, item, ranking=[[1], [0]], note="B").json()["id"])
    second = answered(world)
    assert [each["id"] for each in look(world).json()["labels"]] == [second, first]
    shown = look(world, first).json()
    assert shown["completions"] == item["completions"]
    assert shown["messages"] == item["messages"]
    assert shown["rules"] == item["rules"]
    assert shown["answer"] | {"note": "B"} == shown["answer"]
    assert (shown["answer"]["ranking"], shown["revision"], shown["item_id"]) == ([[1], [0]], 0, item["item_id"])
    assert shown["revise_until_s"] == pytest.approx(time.time() + 900, abs=5)
    assert "others" not in shown
    assert "policy" not in look(world, first).text


def test_somebody_elses_answer_is_not_there(world: "World") -> None:
    world.comparison(k=2, overlap=2)
    id = answered(world)
    world.secret("labeler", "bob")
    assert look(world, id, owner="bob").status_code == 404
    assert revise(world, id, owner="bob", ranking=[[1], [0]]).status_code == 404
    assert look(world, owner="bob").json() == {"labels": []}
    assert look(world, str(uuid.uuid4())).status_code == 404


def test_a_correction_is_a_new_label_and_the_first_one_stays(world: "World") -> None:
    world.comparison(k=2)
    id = answered(world, ranking=[[0], [1]], note="first", active_s=0.001, input="keys")
    done = revise(world, id, ranking=[[1], [0]], note="second")
    assert done.status_code == 200, done.text
    first, second = (label for _, label in labels.read(world.ledger))
    assert (first.id, first.ranking, first.note, first.revision) == (id, [[0], [1]], "first", 0)
    assert (second.id, second.ranking, second.note) == (done.json()["id"], [[1], [0]], "second")
    assert (second.revision, second.revision_of, second.comparison_id) == (1, id, first.comparison_id)
    assert (second.total_s, second.picked, second.display_order) == (first.total_s, first.picked, first.display_order)
    assert [label for _, label in labels.current(world.ledger)] == [second]
    assert labels.count(world.ledger) == 1
    assert look(world, id).json()["answer"]["ranking"] == [[1], [0]]
    assert [each["id"] for each in look(world).json()["labels"]] == [id]


def test_corrections_are_numbered_and_a_repeated_one_is_one(world: "World") -> None:
    world.comparison(k=2)
    id, same = answered(world), str(uuid.uuid4())
    answers = [revise(world, id, submission_id=same, ranking=[[0, 1]]) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert revise(world, id, ranking=[[1], [0]]).status_code == 200
    assert revise(world, id, submission_id=same, ranking=[[0, 1]]).content == answers[0].content
    assert revise(world, id, submission_id=same, ranking=[[0], [1]]).status_code == 409
    assert [label.revision for _, label in labels.read(world.ledger)] == [0, 1, 2]


def test_after_the_window_nothing_is_corrected(world: "World", tmp_path: Path) -> None:
    world.comparison(k=2)
    id = answered(world)
    refused = revise(after_the_window(world, tmp_path), id, ranking=[[1], [0]])
    assert refused.status_code == 409
    assert "over" in refused.json()["error"]["message"]
    assert labels.count(world.ledger) == 1


@pytest.mark.parametrize("shown", [True, False])
def test_others_are_shown_only_where_the_queue_says_so_and_once_nothing_can_be_corrected(
    world: "World", tmp_path: Path, shown: bool
) -> None:
    queues.put(world.ledger, "training", show_answers=shown)
    world.comparison(k=2, overlap=2)
    id = answered(world)
    answered(world, owner="bob", ranking=[[1], [0]], note="mine")
    assert "others" not in look(world, id).json()
    found = look(after_the_window(world, tmp_path), id)
    assert found.json().get("others", []) == (
        [{"outcome": "ranked", "ranking": [[1], [0]], "quality": [], "flags": {}, "spans": [], "note": "mine"}]
        if shown
        else []
    )
    assert "bob" not in found.text


def test_what_an_erased_customer_asked_is_shown_no_more(world: "World", tmp_path: Path) -> None:
    comparison = world.comparison(k=2)
    id = answered(world)
    erasure.erase(world.ledger, tmp_path, comparison.customer, "olga")
    assert look(world, id).status_code == 404
    assert revise(world, id, ranking=[[1], [0]]).status_code == 404


@pytest.mark.parametrize(
    "fields", [{"ranking": [[0], [9]]}, {"response": "x"}, {"ranking": [[0]]}, {"ranking": [[0], [1]], "token": 1}]
)
def test_a_correction_is_checked_like_a_submission(world: "World", fields: dict[str, Any]) -> None:
    world.comparison(k=2)
    id = answered(world)
    assert revise(world, id, **fields).status_code == 400
    assert labels.count(world.ledger) == 1


def test_a_demonstration_is_corrected_likewise(world: "World") -> None:
    world.demonstration_request()
    id = str(submit(world, lease(world, "demonstration"), response="Because.").json()["id"])
    assert revise(world, id, response="Because of Rayleigh.").status_code == 200
    assert revise(world, id, ranking=[[0], [1]]).status_code == 400
    assert [each.response for _, each in demonstrations.read(world.ledger)] == ["Because.", "Because of Rayleigh."]
    assert [each.revision for _, each in demonstrations.current(world.ledger)] == [1]
    assert demonstrations.count(world.ledger) == 1
    assert look(world, id).json()["answer"]["response"] == "Because of Rayleigh."
