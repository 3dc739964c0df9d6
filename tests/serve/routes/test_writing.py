"""Writing over HTTP: own prompts and demonstrations, saved, submitted, returned, written again."""

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from feedback import demonstration_reviews, demonstrations, labelers, writing

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "/v1/labeling/prompts"
SHOTS = [{"query": f"city {number}", "response": f"country {number}"} for number in range(3)]
FEW = {"kind": "few_shot", "use_case": "open_qa", "text": "Name the country.", "shots": SHOTS}


def begin(world: "World", id: str | None = None, owner: str = "ada", **fields: Any) -> Any:
    body = {**FEW, "submission_id": id or str(uuid.uuid4()), **fields}
    return world.call("POST", PATH, body, role="labeler", owner=owner)


def test_a_prompt_is_begun_once_saved_and_submitted(world: "World") -> None:
    id = str(uuid.uuid4())
    draft = begin(world, id, shots=SHOTS[:1]).json()
    assert begin(world, id, shots=SHOTS[:1]).json() == draft
    assert (draft["state"], draft["revision"]) == ("draft", 0)
    assert draft["problem"] == "a few-shot prompt needs at least 2 pairs"
    path = f"{PATH}/{draft['id']}"
    refused = world.call("POST", f"{path}/submit", {"revision": 0}, role="labeler")
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, draft["problem"])
    saved = world.call("PUT", path, {**FEW, "revision": 0}, role="labeler").json()
    assert (saved["revision"], saved["problem"]) == (1, "")
    stale = world.call("PUT", path, {**FEW, "text": "other", "revision": 0}, role="labeler")
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "conflict")
    assert world.call("POST", f"{path}/submit", {"revision": 1}, role="labeler").json()["state"] == "submitted"
    found = world.call("GET", path, role="labeler").json()
    assert [each["state"] for each in found["history"]] == ["draft", "draft", "submitted"]
    assert "labeler" not in found
    assert "reviewer" not in found


def test_prompts_are_their_writers_alone(world: "World") -> None:
    path = f"{PATH}/{begin(world).json()['id']}"
    for method, at, body in (
        ("GET", path, None),
        ("PUT", path, {**FEW, "revision": 0}),
        ("POST", f"{path}/submit", {"revision": 0}),
        ("DELETE", path, None),
    ):
        assert world.call(method, at, body, role="labeler", owner="bob").status_code == 404
    assert world.call("GET", PATH, role="labeler", owner="bob").json() == []
    assert len(world.call("GET", PATH, role="labeler").json()) == 1


def test_a_submitted_prompt_is_taken_back_and_deleted(world: "World") -> None:
    path = f"{PATH}/{begin(world).json()['id']}"
    world.call("POST", f"{path}/submit", {"revision": 0}, role="labeler")
    assert world.call("DELETE", path, role="labeler").status_code == 409
    assert world.call("POST", f"{path}/withdraw", {"revision": 1}, role="labeler").json()["state"] == "draft"
    assert world.call("DELETE", path, role="labeler").status_code == 204
    assert world.call("GET", path, role="labeler").status_code == 404


def test_who_is_paused_begins_and_submits_nothing(world: "World") -> None:
    path = f"{PATH}/{begin(world).json()['id']}"
    labelers.pause(world.ledger, "ada", "olga", "a talk first")
    assert begin(world).status_code == 403
    assert world.call("POST", f"{path}/submit", {"revision": 0}, role="labeler").status_code == 403
    assert world.call("PUT", path, {**FEW, "revision": 0}, role="labeler").status_code == 200, "nothing is lost"


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "long"},
        {"use_case": "poem"},
        {"text": "\x00"},
        {"shots": [{"query": "x"}] * 17},
        {"shots": [{"question": "x"}]},
        {"state": "accepted"},
        {"submission_id": "1"},
    ],
)
def test_what_is_no_prompt_is_refused(world: "World", fields: dict[str, Any]) -> None:
    assert begin(world, **fields).status_code == 400
    assert writing.written_by(world.ledger, "ada") == []


def demonstrate(world: "World") -> str:
    world.demonstration_request()
    item = world.call("POST", "/v1/labeling/next", {"queue": "demonstration"}, role="labeler").json()
    id = str(uuid.uuid4())
    body = {"token": item["token"], "submission_id": id, "response": "Air scatters blue light."}
    assert world.call("POST", f"/v1/labeling/items/{item['item_id']}/submit", body, role="labeler").status_code == 200
    return id


def test_a_returned_demonstration_is_written_again_and_reviewed_anew(world: "World") -> None:
    id = demonstrate(world)
    path = "/v1/labeling/demonstrations"
    [found] = world.call("GET", path, role="labeler").json()
    assert (found["id"], found["state"], len(found["history"])) == (id, "waiting", 1)
    again = {"submission_id": str(uuid.uuid4()), "response": "Small parts of air scatter blue light most."}
    assert world.call("POST", f"{path}/{id}/revise", again, role="labeler").status_code == 409
    demonstration_reviews.review(world.ledger, id, "returned", "olga", "Say more.")
    assert world.call("POST", f"{path}/{id}/revise", again, role="labeler", owner="bob").status_code == 404
    for repeated in (False, True):
        told = world.call("POST", f"{path}/{id}/revise", again, role="labeler").json()
        assert (told["revision"], told["repeated"]) == (1, repeated)
    [found] = world.call("GET", path, role="labeler").json()
    assert (found["state"], found["response"]) == ("waiting", again["response"])
    assert [(each["verdict"], each["comment"]) for each in found["history"]] == [("returned", "Say more."), ("", "")]
    assert [each.response for _, each in demonstrations.current(world.ledger)] == [again["response"]]
    assert world.call("GET", path, role="labeler", owner="bob").json() == []
