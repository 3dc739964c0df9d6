"""What a labeler gives beside the ranking: the answer that none is, and drafts that are kept until then."""

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from feedback import demonstrations, drafts, erasure, keys, labels
from tests.serve.routes.test_answers import lease, submit

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World


pytestmark = pytest.mark.redis


def write(world: "World", item: dict[str, Any], owner: str = "ada", **fields: Any) -> Any:
    body = {"token": item["token"], "submission_id": str(uuid.uuid4()), **fields}
    return world.call("POST", f"/v1/labeling/items/{item['item_id']}/demonstration", body, role="labeler", owner=owner)


def keep_draft(world: "World", item: dict[str, Any], draft: Any, owner: str = "ada") -> Any:
    body = {"token": item["token"], "draft": draft}
    return world.call("PUT", f"/v1/labeling/items/{item['item_id']}/draft", body, role="labeler", owner=owner)


def test_the_answer_that_none_is_goes_beside_the_ranking_once(world: "World") -> None:
    comparison = world.comparison(k=2)
    item, same = lease(world), str(uuid.uuid4())
    answers = [write(world, item, submission_id=same, response="Mine.", based_on=1) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    [(_, found)] = list(demonstrations.read(world.ledger))
    assert (found.response, found.source, found.comparison_id, found.based_on) == (
        "Mine.",
        "comparison",
        comparison.id,
        1,
    )
    assert (found.prompt_id, found.customer, found.split) == (comparison.prompt_id, "acme", comparison.split)
    assert write(world, item, response="Another.").status_code == 409
    assert submit(world, item, outcome="all_bad").status_code == 200
    assert demonstrations.count(world.ledger) == labels.count(world.ledger) == 1


def test_the_answer_that_none_is_needs_the_lease_and_a_completion_that_is_there(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    assert write(world, item, response="Mine.", based_on=2).status_code == 400
    assert write(world, item, response=" ").status_code == 400
    assert write(world, item, owner="bob", response="Mine.").status_code == 409
    assert demonstrations.count(world.ledger) == 0


def test_a_draft_is_kept_until_the_answer_is_taken(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    for draft in ({"note": "hm"}, {"note": "hmm", "ranks": {"0": 1}}):
        assert keep_draft(world, item, draft).status_code == 200
    kept = drafts.get(world.ledger, "ada", item["item_id"])
    assert kept is not None
    assert json.loads(kept) == {"note": "hmm", "ranks": {"0": 1}}
    assert submit(world, item, ranking=[[0], [1]]).status_code == 200
    assert drafts.get(world.ledger, "ada", item["item_id"]) is None
    assert world.ledger.redis.exists(keys.drafts(item["item_id"])) == 0


def test_a_draft_is_an_object_of_bounded_size_of_the_leases_holder(world: "World") -> None:
    world.comparison(k=2)
    item = lease(world)
    assert keep_draft(world, item, {"note": "x" * 70_000}).status_code == 400
    assert keep_draft(world, item, [1]).status_code == 400
    assert keep_draft(world, {**item, "token": item["token"] + 1}, {}).status_code == 409
    assert keep_draft(world, item, {}, owner="bob").status_code == 409
    assert drafts.get(world.ledger, "ada", item["item_id"]) is None


def test_a_draft_goes_with_its_item_when_the_customer_is_erased(world: "World", tmp_path: Path) -> None:
    comparison = world.comparison(k=2)
    item = lease(world)
    keep_draft(world, item, {"note": "they said so"})
    erasure.erase(world.ledger, tmp_path, comparison.customer, "olga")
    assert drafts.get(world.ledger, "ada", item["item_id"]) is None
    assert world.ledger.redis.exists(keys.drafts(item["item_id"]), keys.answers(item["item_id"])) == 0
