"""An operator's wish for labels of one prompt: a real comparison, before all others, within the rules."""

from typing import TYPE_CHECKING, Any

import pytest

from feedback import collection, comparisons, interactions, leases, promotion, prompts
from feedback.curation import Rules, split_of
from feedback.records import Interaction
from tests.builders import make_interaction
from tests.serve.routes.conftest import completions

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis


def customer_of(split: str) -> str:
    return next(name for name in (f"customer {n}" for n in range(200)) if split_of(name, Rules()) == split)


def logged(world: "World", split: str = "train", **changes: Any) -> Interaction:
    interaction = make_interaction(customer=customer_of(split), **changes)
    interactions.append(world.ledger, interaction)
    return interaction


def put(world: "World", interaction: Interaction, role: str = "operator", **fields: Any) -> Any:
    return world.call("POST", "/v1/queue", {"interaction_id": interaction.id, **fields}, role=role)


def test_prompt_is_planned_and_served_before_older_ones(world: "World") -> None:
    older = world.comparison()
    answer = put(world, logged(world), k=3)
    assert answer.status_code == 200
    planned = comparisons.get(world.ledger, answer.json()["comparison_id"])
    assert (planned.k, planned.priority, planned.split) == (3, True, "train")
    assert prompts.get(world.ledger, planned.prompt_id).messages == planned.messages
    assert comparisons.complete(world.ledger, planned, completions(["x", "y", "z"]))
    order = [leases.lease(world.ledger, "training", "lena", 60).item_id for _ in range(2)]
    assert order == [planned.id, older.id]
    assert [entry.action for entry in promotion.audit(world.ledger)] == ["queue prompt"]


def test_planners_do_not_plan_it_again(world: "World") -> None:
    put(world, logged(world))
    assert collection.wanting(world.ledger, "comparison", 10) == []


def test_second_wish_for_one_prompt_is_a_conflict(world: "World") -> None:
    interaction = logged(world)
    assert [put(world, interaction).status_code for _ in range(2)] == [200, 409]


def test_validation_customers_measure_agreement(world: "World") -> None:
    answer = put(world, logged(world, "valid"))
    assert comparisons.get(world.ledger, answer.json()["comparison_id"]).purpose == "agreement"


@pytest.mark.parametrize(("split", "changes"), [("test", {}), ("train", {"consent": False})])
def test_prompts_that_nobody_may_label_are_refused(world: "World", split: str, changes: dict[str, Any]) -> None:
    assert put(world, logged(world, split, **changes)).status_code == 409
    assert comparisons.being_sampled(world.ledger) == 0


def test_unknown_answer_is_404_and_clients_may_not(world: "World") -> None:
    assert put(world, make_interaction()).status_code == 404
    assert put(world, logged(world), role="client").status_code == 403
