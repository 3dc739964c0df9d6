"""Feedback over HTTP on a real ledger."""

from typing import TYPE_CHECKING, Any

import pytest

from feedback import interactions, keys
from feedback.ids import new_id
from feedback.records import Interaction, Message, Rating, utc_now

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis


def logged(customer: str = "ada") -> Interaction:
    return Interaction(
        id=new_id("int"),
        created_at=utc_now(),
        customer=customer,
        key_id="key_1",
        messages=[Message(role="user", content="hi")],
        completion="hello",
        finish_reason="stop",
        policy_version="policy-0001",
    )


def rate(world: "World", interaction_id: str, owner: str = "ada", **fields: Any) -> Any:
    body = {"interaction_id": interaction_id, "rating": 1, **fields}
    return world.call("POST", "/v1/feedback", body, role="client", owner=owner)


def stored(world: "World") -> list[Rating]:
    return [rating for _, rating in world.ledger.stream(keys.RATINGS, Rating)]


def test_rating_of_own_answer_is_stored(world: "World") -> None:
    interaction = logged()
    interactions.append(world.ledger, interaction)
    answer = rate(world, interaction.id, rating=-1, comment="rude", edit="Hello!")
    assert answer.status_code == 200
    assert answer.json()["taken"] is True
    [found] = stored(world)
    assert (found.interaction_id, found.customer, found.rating) == (interaction.id, "ada", -1)
    assert (found.comment, found.edit) == ("rude", "Hello!")


def test_feedback_that_beats_the_log_write_is_taken(world: "World") -> None:
    interaction = logged()
    world.recorder.held[interaction.id] = interaction
    assert rate(world, interaction.id).json()["taken"] is True
    assert len(stored(world)) == 1


def test_retry_with_the_same_id_is_one_rating(world: "World") -> None:
    interaction = logged()
    interactions.append(world.ledger, interaction)
    answers = [rate(world, interaction.id, id="click-1").json() for _ in range(3)]
    assert [each["taken"] for each in answers] == [True, False, False]
    assert {each["id"] for each in answers} == {"click-1"}
    assert rate(world, interaction.id, id="click-2", rating=-1).json()["taken"] is True
    assert [each.rating for each in stored(world)] == [1, -1]


def test_two_customers_may_use_the_same_feedback_id(world: "World") -> None:
    for owner in ("ada", "bob"):
        interaction = logged(owner)
        interactions.append(world.ledger, interaction)
        assert rate(world, interaction.id, owner, id="1").json()["taken"] is True
    assert [each.customer for each in stored(world)] == ["ada", "bob"]


def test_answer_of_another_customer_looks_like_one_that_never_was(world: "World") -> None:
    interaction = logged("bob")
    interactions.append(world.ledger, interaction)
    others, unknown = rate(world, interaction.id), rate(world, "int_none")
    assert others.status_code == unknown.status_code == 404
    shapes = [each.text.replace(interaction.id, "ID").replace("int_none", "ID") for each in (others, unknown)]
    assert shapes[0] == shapes[1]
    assert stored(world) == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"rating": 2}, "rating"),
        ({"rating": 1.5}, "rating"),
        ({"rating": "good"}, "rating"),
        ({"rating": None}, "rating"),
        ({"rating": True}, "rating"),
        ({"interaction_id": "int\n"}, "interaction_id"),
        ({"interaction_id": 7}, "interaction_id"),
        ({"interaction_id": "a" * 101}, "interaction_id"),
        ({"id": ""}, "id"),
        ({"id": "a b"}, "id"),
        ({"comment": "bell \x07"}, "comment"),
        ({"comment": "x" * 4001}, "comment"),
        ({"edit": "x" * 16001}, "edit"),
        ({"weight": 9}, "weight"),
        ({"customer": "bob"}, "customer"),
    ],
)
def test_unusable_feedback_is_refused_by_name(world: "World", fields: dict[str, Any], param: str) -> None:
    interaction = logged()
    interactions.append(world.ledger, interaction)
    answer = rate(world, **{"interaction_id": interaction.id, **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["message"].startswith(f"{param}: ")
    assert "regex" not in answer.text
    assert stored(world) == []


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"x"', 400),
        (b"null", 400),
        (b"true", 400),
        (b"\xff\xfe{\x00}\x00", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b'{"interaction_id":"a","rating":NaN}', 400),
        (b'{"interaction_id":"a","rating":1e999}', 400),
        (b'{"interaction_id":"a","rating":' + b"9" * 10_000 + b"}", 400),
        (b'{"interaction_id":"a","rating":1,"comment":"\\ud800"}', 400),
        (b'{"interaction_id":' * 10_000, 400),
        (b"[" * 100_000, 400),
        (b'{"comment":"' + b"x" * (1 << 20) + b'"}', 413),
    ],
)
def test_body_that_is_no_json_object_of_ours_is_a_clear_refusal(world: "World", raw: bytes, status: int) -> None:
    headers = {"Authorization": f"Bearer {world.secret('client')}", "Content-Type": "application/json"}
    answer = world.client.post("/v1/feedback", content=raw, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_body_of_another_media_type_is_415(world: "World") -> None:
    headers = {"Authorization": f"Bearer {world.secret('client')}", "Content-Type": "text/plain"}
    assert world.client.post("/v1/feedback", content=b"{}", headers=headers).status_code == 415
