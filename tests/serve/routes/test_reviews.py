"""Reviews over HTTP: what labelers said without their names, and a word that counts once."""

import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from feedback import demonstrations, labels, prompts, reviews

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "/v1/operations/reviews"


def disputed(world: "World") -> str:
    """A comparison that two labelers, ada and bob, ranked in opposite ways."""
    item = world.comparison(k=3, overlap=2)
    for owner, ranking in (("ada", [[0], [1], [2]]), ("bob", [[2], [1], [0]])):
        leased = world.call("POST", "/v1/labeling/next", {}, role="labeler", owner=owner).json()
        body = {
            "token": leased["token"],
            "submission_id": str(uuid.uuid4()),
            "ranking": ranking,
            "quality": [7, 4, 1],
            "flags": {"opinion": [1]},
            "note": f"a note of {len(owner)} letters",
        }
        answer = world.call("POST", f"/v1/labeling/items/{item.id}/submit", body, role="labeler", owner=owner)
        assert answer.status_code == 200, answer.text
    reviews.open_review(world.ledger, item.id, "disagreement", "2 of 3 pairs are ordered both ways")
    return item.id


def resolve(world: "World", id: str, verdict: str, owner: str = "olga", **fields: Any) -> Any:
    return world.call("POST", f"{PATH}/{id}", {"verdict": verdict, **fields}, role="operator", owner=owner)


def test_a_reviewer_sees_what_was_said_and_not_by_whom(world: "World") -> None:
    id = disputed(world)
    [listed] = world.call("GET", PATH, role="operator").json()
    assert (listed["item_id"], listed["reason"]) == (id, "disagreement")
    answer = world.call("GET", f"{PATH}/{id}", role="operator")
    found = answer.json()
    assert [each["text"] for each in found["completions"]] == ["answer 0", "answer 1", "answer 2"]
    assert [label["ranking"] for label in found["labels"]] == [[[0], [1], [2]], [[2], [1], [0]]]
    assert found["labels"][0]["flags"] == {"opinion": [1]}
    assert found["details"] == ["2 of 3 pairs are ordered both ways"]
    for hidden in ("ada", "bob", "policy-0666"):
        assert not re.search(rf"\b{hidden}\b", answer.text)  # a random id may hold its letters


def test_the_final_ranking_is_stored_beside_the_labels(world: "World") -> None:
    id = disputed(world)
    before = [label for _, label in labels.read(world.ledger)]
    done = resolve(world, id, "ranked", ranking=[[1], [0, 2]], note="1 is shortest")
    assert done.json()["state"] == "ranked"
    said = reviews.adjudications(world.ledger)[id]
    assert (said.ranking, said.note, said.labels) == ([[1], [0, 2]], "1 is shortest", [each.id for each in before])
    assert [label for _, label in labels.read(world.ledger)] == before
    assert world.call("GET", PATH, role="operator").json() == []
    # again the same word, then another one
    assert resolve(world, id, "ranked", ranking=[[1], [0, 2]], note="1 is shortest").status_code == 200
    assert resolve(world, id, "discarded").status_code == 409
    assert resolve(world, id, "ranked", owner="oleg", ranking=[[1], [0, 2]]).status_code == 409
    assert len(list(reviews.read(world.ledger))) == 1


def test_all_bad_is_a_final_word_too(world: "World") -> None:
    id = disputed(world)
    assert resolve(world, id, "ranked", outcome="all_bad").status_code == 200
    said = reviews.adjudications(world.ledger)[id]
    assert (said.outcome, said.ranking) == ("all_bad", labels.verdict_on_all(3))


@pytest.mark.parametrize(
    "ranking", [None, [[0]], [[0], [1]], [[0], [1], [2], [2]], [[0], [], [1], [2]], [[0, 1, 2, 3]]]
)
def test_a_final_ranking_names_every_completion_once(world: "World", ranking: Any) -> None:
    id = disputed(world)
    fields = {} if ranking is None else {"ranking": ranking}
    assert resolve(world, id, "ranked", **fields).status_code == 400
    assert reviews.open_count(world.ledger) == 1


def test_a_request_for_a_demonstration_can_be_reopened_but_not_ranked(world: "World") -> None:
    prompt = world.demonstration_request()
    reviews.open_review(world.ledger, prompt.id, "report", "personal_data: an address")
    assert world.call("POST", "/v1/labeling/next", {"queue": "demonstration"}, role="labeler").status_code == 204
    found = world.call("GET", f"{PATH}/{prompt.id}", role="operator").json()
    assert (found["kind"], found["slots_left"]) == ("demonstration", 1)
    assert found["messages"][0]["content"] == prompt.messages[0].content
    assert resolve(world, prompt.id, "ranked", ranking=[[0]]).status_code == 409
    assert resolve(world, prompt.id, "reopened").status_code == 200
    assert world.call("POST", "/v1/labeling/next", {"queue": "demonstration"}, role="labeler").status_code == 200


def test_what_is_not_under_review_is_not_found(world: "World") -> None:
    assert world.call("GET", f"{PATH}/cmp_x", role="operator").status_code == 404
    assert resolve(world, "cmp_x", "discarded").status_code == 404


def write(world: "World") -> dict[str, Any]:
    shots = [{"query": f"city {number}", "response": f"country {number}"} for number in range(3)]
    body = {"kind": "few_shot", "use_case": "open_qa", "text": "Name the country.", "shots": shots}
    given = {**body, "submission_id": str(uuid.uuid4())}
    draft = world.call("POST", "/v1/labeling/prompts", given, role="labeler").json()
    path = f"/v1/labeling/prompts/{draft['id']}/submit"
    found: dict[str, Any] = world.call("POST", path, {"revision": 0}, role="labeler").json()
    return found


def test_a_written_prompt_is_accepted_as_it_was_read(world: "World") -> None:
    written = write(world)
    [listed] = world.call("GET", "/v1/operations/written", role="operator").json()
    assert listed["id"] == written["id"]
    assert not {"labeler", "reviewer"} & set(listed)
    path = f"/v1/operations/written/{written['id']}"
    assert len(world.call("GET", path, role="operator").json()["history"]) == 2
    assert world.call("POST", f"{path}/accept", {"revision": 0}, role="operator").status_code == 409
    done = world.call("POST", f"{path}/accept", {"revision": 1}, role="operator").json()
    assert (done["state"], len(done["prompt_ids"])) == ("accepted", 3)
    assert prompts.count(world.ledger) == demonstrations.count(world.ledger) == 3
    assert world.call("GET", "/v1/operations/written", role="operator").json() == []


@pytest.mark.parametrize(("move", "state"), [("return", "returned"), ("reject", "rejected")])
def test_a_written_prompt_is_returned_or_rejected_with_a_comment(world: "World", move: str, state: str) -> None:
    path = f"/v1/operations/written/{write(world)['id']}/{move}"
    done = world.call("POST", path, {"revision": 1, "comment": "Too easy."}, role="operator").json()
    assert done["state"] == state
    [seen] = world.call("GET", "/v1/labeling/prompts", role="labeler").json()
    assert (seen["state"], seen["comment"]) == (state, "Too easy.")


def test_a_demonstration_is_reviewed_without_knowing_its_writer(world: "World") -> None:
    world.demonstration_request()
    item = world.call("POST", "/v1/labeling/next", {"queue": "demonstration"}, role="labeler").json()
    body = {"token": item["token"], "submission_id": str(uuid.uuid4()), "response": "Air scatters blue light."}
    world.call("POST", f"/v1/labeling/items/{item['item_id']}/submit", body, role="labeler")
    answer = world.call("GET", "/v1/operations/demonstrations", role="operator")
    [found] = answer.json()
    assert found["response"] == "Air scatters blue light."
    assert not re.search(r"\bada\b", answer.text)
    path = f"/v1/operations/demonstrations/{found['id']}/review"
    assert world.call("POST", path, {"verdict": "returned"}, role="operator").status_code == 400
    assert world.call("POST", path, {"verdict": "fine"}, role="operator").status_code == 400
    told = world.call("POST", path, {"verdict": "accepted"}, role="operator").json()
    assert told["verdict"] == "accepted"
    assert world.call("GET", "/v1/operations/demonstrations", role="operator").json() == []
    gone = "/v1/operations/demonstrations/sub_x/review"
    assert world.call("POST", gone, {"verdict": "accepted"}, role="operator").status_code == 404


def test_a_demonstration_that_was_written_again_comes_with_what_was_said_before(world: "World") -> None:
    world.demonstration_request()
    item = world.call("POST", "/v1/labeling/next", {"queue": "demonstration"}, role="labeler").json()
    id = str(uuid.uuid4())
    body = {"token": item["token"], "submission_id": id, "response": "Air."}
    world.call("POST", f"/v1/labeling/items/{item['item_id']}/submit", body, role="labeler")
    verdict = {"verdict": "returned", "comment": "Say more."}
    world.call("POST", f"/v1/operations/demonstrations/{id}/review", verdict, role="operator")
    again = {"submission_id": str(uuid.uuid4()), "response": "Air scatters blue light."}
    world.call("POST", f"/v1/labeling/demonstrations/{id}/revise", again, role="labeler")
    [found] = world.call("GET", "/v1/operations/demonstrations", role="operator").json()
    assert (found["id"], found["revision"], found["response"]) == (again["submission_id"], 1, again["response"])
    told = [(each["response"], each["verdict"], each["comment"]) for each in found["history"]]
    assert told == [("Air.", "returned", "Say more."), (again["response"], "", "")]
