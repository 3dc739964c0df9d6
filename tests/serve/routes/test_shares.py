"""Shared chats over HTTP: made by their owner, read by anybody who knows the id, taken back."""

from typing import TYPE_CHECKING

import pytest

from feedback import interactions
from feedback.records import Interaction, utc_now
from tests.builders import make_interaction

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis


def logged(world: "World", customer: str = "ada") -> Interaction:
    interaction = make_interaction(customer=customer, created_at=utc_now())
    interactions.append(world.ledger, interaction)
    return interaction


def test_share_is_read_without_a_key_and_names_neither_customer_nor_version(world: "World") -> None:
    interaction = logged(world)
    made = world.call("POST", "/v1/shares", {"interaction_id": interaction.id}, role="client")
    assert made.status_code == 200
    answer = world.client.get(f"/v1/shares/{made.json()['id']}")
    assert answer.status_code == 200
    assert answer.json()["completion"] == "An apple."
    assert answer.json()["messages"] == [{"role": "user", "content": "Name a fruit."}]
    assert answer.headers["cache-control"] == "no-store"
    assert not any(word in answer.text for word in ("ada", interaction.policy_version, interaction.id))


def test_own_shares_are_listed_and_taken_back_by_their_owner_only(world: "World") -> None:
    interaction = logged(world)
    id = world.call("POST", "/v1/shares", {"interaction_id": interaction.id}, role="client").json()["id"]
    assert [each["id"] for each in world.call("GET", "/v1/shares", role="client").json()] == [id]
    assert world.call("GET", "/v1/shares", role="client", owner="bob").json() == []
    assert world.call("DELETE", f"/v1/shares/{id}", role="client", owner="bob").status_code == 404
    assert world.call("DELETE", f"/v1/shares/{id}", role="client").status_code == 204
    assert world.client.get(f"/v1/shares/{id}").status_code == 404


def test_what_is_not_the_caller_s_or_was_not_logged_cannot_be_shared(world: "World") -> None:
    for id in (logged(world, "bob").id, make_interaction().id):
        assert world.call("POST", "/v1/shares", {"interaction_id": id}, role="client").status_code == 404


@pytest.mark.parametrize("days", [0, 31, 400, "7"])
def test_days_have_bounds(world: "World", days: object) -> None:
    body = {"interaction_id": logged(world).id, "days": days}
    answer = world.call("POST", "/v1/shares", body, role="client")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "days")


@pytest.mark.parametrize("id", ["x", "a" * 22, "a" * 21 + "%2f", "a" * 23])
def test_unknown_or_odd_id_is_refused(world: "World", id: str) -> None:
    assert world.client.get(f"/v1/shares/{id}").status_code in (400, 404)
