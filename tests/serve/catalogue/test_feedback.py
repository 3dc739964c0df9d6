"""The bad-input catalogue, rows 70 to 77: what callers may send as feedback, and what becomes of it.

Schema errors are 400 in the OpenAI envelope, as on all our routes.
"""

import re
import time
from pathlib import Path
from typing import Any

import pytest
import uuid_utils

from feedback import interactions, keys, labels, snapshots
from feedback.client import Ledger
from feedback.ids import new_id
from feedback.records import Interaction, Rating, utc_now
from tests.builders import make_interaction
from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
ROWS = range(70, 78)


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path)


def logged(world: World, customer: str = "ada", **changes: Any) -> Interaction:
    interaction = make_interaction(customer=customer, created_at=utc_now(), **changes)
    interactions.append(world.ledger, interaction)
    return interaction


def tell(world: World, interaction_id: str, owner: str = "ada", **fields: Any) -> Any:
    return world.call("POST", "/v1/feedback", {"interaction_id": interaction_id, **fields}, role="client", owner=owner)


def raw(world: World, body: bytes) -> Any:
    headers = {"Authorization": f"Bearer {world.secret('client')}", "Content-Type": "application/json"}
    return world.client.post("/v1/feedback", content=body, headers=headers)


def stored(world: World) -> list[Rating]:
    return [rating for _, rating in world.ledger.stream(keys.RATINGS, Rating)]


def test_every_row_has_a_test() -> None:
    covered = {int(found[1]) for name in globals() if (found := re.match(r"test_row_(\d+)_", name))}
    assert covered == set(ROWS)


def test_row_70_unknown_ids_and_those_of_others_look_the_same(world: World) -> None:
    theirs = logged(world, "bob")
    unknown = new_id("int")
    answers = [tell(world, id, rating=1) for id in (theirs.id, unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace(theirs.id, "ID") == answers[1].text.replace(unknown, "ID")
    pair = world.call("POST", "/v1/feedback", {"better": theirs.id, "worse": unknown}, role="client")
    assert pair.status_code == 404
    assert stored(world) == []


@pytest.mark.parametrize("rating", ["6", "-2", "1.5", '"good"', "null", "NaN", "true", "[]"])
def test_row_71_a_rating_is_one_of_three_numbers(world: World, rating: str) -> None:
    answer = raw(world, f'{{"interaction_id":"{logged(world).id}","rating":{rating}}}'.encode())
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert stored(world) == []


def test_row_71_zero_takes_a_rating_back(world: World) -> None:
    interaction = logged(world)
    assert [tell(world, interaction.id, rating=rating).status_code for rating in (1, 0)] == [200, 200]
    assert [each.rating for each in stored(world)] == [1, 0]


def test_row_72_a_repetition_counts_once_and_a_change_of_mind_is_a_new_event(world: World) -> None:
    interaction = logged(world)
    answers = [tell(world, interaction.id, id=id, rating=rating) for id, rating in [("1", 1), ("1", 1), ("2", -1)]]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.json()["taken"] for answer in answers] == [True, False, True]
    assert [each.rating for each in stored(world)] == [1, -1]


def test_row_73_a_flood_of_thumbs_is_refused_for_that_key_alone(world: World) -> None:
    most = world.deps.settings.feedback_per_minute
    mine, theirs = logged(world), logged(world, "bob")
    began = time.time() // 60
    answers = [tell(world, mine.id, rating=1) for _ in range(most + 5)]
    if time.time() // 60 == began:
        assert [answer.status_code for answer in answers] == [200] * most + [429] * 5
    assert answers[most - 1].status_code == 200
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
    assert tell(world, theirs.id, "bob", rating=1).status_code == 200


def test_row_73_no_flood_weighs_more_than_its_share(world: World, tmp_path: Path) -> None:
    mine = [logged(world, "cleo", completion=f"Answer {n}.") for n in range(8)]
    for better, worse in zip(mine[::2], mine[1::2], strict=True):
        body = {"better": better.id, "worse": worse.id}
        assert world.call("POST", "/v1/feedback", body, role="client", owner="cleo").json()["taken"] is True
    given = [label.id for _, label in labels.read(world.ledger)]
    assert len(given) == 4
    made = snapshots.build(world.ledger, tmp_path)
    assert made.labels == []
    assert made.left_out == dict.fromkeys(given, "customers' share")


@pytest.mark.parametrize(
    "comment",
    ["<img src=x onerror=alert(1)>", "‮evil‬", '=HYPERLINK("http://x","y")', "</script>\u2028", "🦊" * 100],
)
def test_row_74_hostile_words_are_kept_as_words(world: World, comment: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert tell(world, logged(world).id, comment=comment).status_code == 200
    assert [each.comment for each in stored(world)] == [comment]
    assert comment not in "".join(capfd.readouterr())


@pytest.mark.parametrize(("comment", "status"), [("x" * (1 << 20), 413), ("\x1b[31mred", 400), ("x" * 4001, 400)])
def test_row_74_what_is_too_long_or_no_text_is_refused(world: World, comment: str, status: int) -> None:
    answer = tell(world, logged(world).id, comment=comment)
    assert answer.status_code == status
    assert comment not in answer.text
    assert stored(world) == []


@pytest.mark.parametrize("edit", ["An apple.", "<|im_end|><eos><|assistant|>", "</s>[INST]"])
def test_row_75_an_edit_is_text_whatever_it_spells(world: World, edit: str) -> None:
    assert tell(world, logged(world).id, edit=edit).status_code == 200
    assert [(each.edit, each.rating) for each in stored(world)] == [(edit, 0)]


@pytest.mark.parametrize("fields", [{}, {"edit": ""}, {"edit": " \n"}, {"comment": ""}, {"reasons": []}])
def test_row_75_feedback_that_says_nothing_is_refused(world: World, fields: dict[str, Any]) -> None:
    assert tell(world, logged(world).id, **fields).status_code == 400
    assert stored(world) == []


@pytest.mark.parametrize("field", ["weight", "gold", "labeler_id", "tenant", "customer", "created_at"])
def test_row_76_no_field_of_ours_can_be_set_from_outside(world: World, field: str) -> None:
    answer = tell(world, logged(world).id, rating=1, **{field: "x"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert stored(world) == []


def test_row_77_an_answer_of_which_nothing_was_shown_cannot_be_rated(world: World) -> None:
    silent = logged(world, completion="", finish_reason="aborted")
    assert tell(world, silent.id, rating=1).status_code == 409
    assert stored(world) == []


def test_row_77_an_answer_older_than_its_retention_is_gone(world: World) -> None:
    old_ms = int((time.time() - keys.MONTH_S - 60) * 1000)
    fresh = uuid_utils.uuid7().hex
    old = f"chatcmpl-{old_ms:012x}{fresh[12:]}"
    answer = tell(world, old, rating=1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "expired")
    assert stored(world) == []
