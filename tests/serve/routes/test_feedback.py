"""Feedback over HTTP on a real ledger."""

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from feedback import comparisons, interactions, keys, labels
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


def pair(world: "World", **changes: Any) -> tuple[Interaction, Interaction]:
    found = (logged(), msgspec.structs.replace(logged(), completion="howdy", **changes))
    for interaction in found:
        interactions.append(world.ledger, interaction)
    return found


def compare(world: "World", better: str, worse: str, **fields: Any) -> Any:
    return world.call("POST", "/v1/feedback", {"better": better, "worse": worse, **fields}, role="client")


@pytest.mark.parametrize(
    ("fields", "ranking", "quality"),
    [({}, [[0], [1]], []), ({"verdict": "tie"}, [[0, 1]], []), ({"verdict": "both_bad"}, [[0, 1]], [1, 1])],
)
def test_comparison_of_two_answers_is_a_label_of_its_customer(
    world: "World", fields: dict[str, Any], ranking: list[list[int]], quality: list[int]
) -> None:
    better, worse = pair(world)
    assert compare(world, better.id, worse.id, **fields).json()["taken"] is True
    [(_, label)] = labels.read(world.ledger)
    assert (label.labeler, label.labeler_group) == ("ada", "customer")
    assert (label.ranking, label.quality) == (ranking, quality)
    comparison = comparisons.get(world.ledger, label.comparison_id)
    assert [each.text for each in comparison.completions] == ["hello", "howdy"]
    assert stored(world) == []


def test_verdict_on_two_answers_holds_and_its_retry_is_recognised(world: "World") -> None:
    better, worse = pair(world)
    answers = [compare(world, better.id, worse.id, id="click-1") for _ in range(2)]
    assert [each.json()["taken"] for each in answers] == [True, False]
    assert compare(world, worse.id, better.id, id="click-2").status_code == 409
    assert len(list(labels.read(world.ledger))) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"messages": [Message(role="user", content="bye")]}, 400), ({"finish_reason": "aborted"}, 409)],
)
def test_answers_that_cannot_be_compared_are_refused(world: "World", changes: dict[str, Any], status: int) -> None:
    better, worse = pair(world, **changes)
    assert compare(world, better.id, worse.id).status_code == status
    assert compare(world, better.id, better.id).status_code == 400
    assert list(labels.read(world.ledger)) == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"better": "int_1"}, "worse"),
        ({"worse": "int_1"}, "better"),
        ({"better": "int_1", "worse": "int_2", "rating": 1}, "rating"),
        ({"better": "int_1", "worse": "int_2", "comment": "x"}, "comment"),
        ({"better": "int_1", "worse": "int_2", "verdict": "a"}, "verdict"),
        ({"interaction_id": "int_1", "rating": 1, "verdict": "tie"}, "verdict"),
        ({"rating": 1}, "interaction_id"),
        ({}, "interaction_id"),
    ],
)
def test_feedback_is_on_one_answer_or_on_two(world: "World", body: dict[str, Any], param: str) -> None:
    answer = world.call("POST", "/v1/feedback", body, role="client")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
