"""Battles over HTTP: begun, voted on once, revealed afterwards."""

import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from feedback import access, comparisons, interactions, labels, metrics, votes
from feedback.records import Interaction, utc_now
from tests.builders import make_interaction
from tests.serve.routes.conftest import SlotState

if TYPE_CHECKING:
    from tests.serve.conftest import Server
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis


@pytest.fixture
def two(world: "World") -> "World":
    """A world with two loaded policies."""
    world.traffic.slots = [SlotState("a", "policy-0001", "ready", 0), SlotState("b", "policy-0002", "ready", 0)]
    return world


def begin(world: "World", owner: str = "ada") -> dict[str, Any]:
    answer = world.call("POST", "/v1/battles", role="client", owner=owner)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def fought(world: "World", owner: str = "ada") -> tuple[str, list[Interaction]]:
    """Begin a battle and log both answers; return its id and the answers of a and b."""
    battle = begin(world, owner)
    said = []
    for name in battle["sides"]:
        version = world.deps.battles.side(name, owner)
        answer = make_interaction(
            customer=owner, created_at=utc_now(), policy_version=version, completion=f"By {version}."
        )
        interactions.append(world.ledger, answer)
        said.append(answer)
    return battle["id"], said


def vote(world: "World", battle: str, said: list[Interaction], verdict: str = "a", **fields: Any) -> Any:
    owner = fields.pop("owner", "ada")
    body = {"verdict": verdict, "a": said[0].id, "b": said[1].id, **fields}
    return world.call("POST", f"/v1/battles/{battle}/vote", body, role="client", owner=owner)


def votes_counted() -> float:
    return metrics.REGISTRY.get_sample_value("whetstone_labels_total", {"kind": "vote"}) or 0.0


def test_begin_names_two_sides_and_no_version(two: "World") -> None:
    answer = two.call("POST", "/v1/battles", role="client")
    battle = answer.json()
    assert battle["sides"] == [f"battle-{battle['id']}-a", f"battle-{battle['id']}-b"]
    assert battle["left_today"] == two.deps.settings.battles_per_day - 1
    assert "policy-" not in answer.text


def test_vote_stores_a_comparison_and_a_label_and_reveals_the_versions(two: "World") -> None:
    id, said = fought(two)
    before = votes_counted()
    answer = vote(two, id, said, "b")
    assert answer.status_code == 200
    assert votes_counted() == before + 1
    assert answer.json()["versions"] == {"a": said[0].policy_version, "b": said[1].policy_version}
    [(_, label)] = labels.read(two.ledger)
    assert (label.labeler, label.labeler_group, label.ranking) == ("ada", votes.GROUP, [[1], [0]])
    comparison = comparisons.get(two.ledger, label.comparison_id)
    assert [each.text for each in comparison.completions] == [each.completion for each in said]
    assert comparison.customer == "ada"


def test_both_bad_is_a_tie_of_lowest_quality(two: "World") -> None:
    id, said = fought(two)
    assert vote(two, id, said, "both_bad").status_code == 200
    [(_, label)] = labels.read(two.ledger)
    assert (label.ranking, label.quality) == ([[0, 1]], [1, 1])


def test_first_vote_holds_and_its_retry_gets_the_same_answer(two: "World") -> None:
    id, said = fought(two)
    first = vote(two, id, said, "a", id="click-1").json()
    again = vote(two, id, said, "a", id="click-1").json()
    assert (first["taken"], again["taken"]) == (True, False)
    assert first["versions"] == again["versions"]
    assert vote(two, id, said, "b").status_code == 409
    [(_, label)] = labels.read(two.ledger)
    assert label.ranking == [[0], [1]]


def test_one_loaded_policy_is_a_conflict_in_words(world: "World") -> None:
    answer = world.call("POST", "/v1/battles", role="client")
    assert answer.status_code == 409
    assert "two loaded policies" in answer.json()["error"]["message"]


def test_battle_of_somebody_else_looks_like_one_that_never_was(two: "World") -> None:
    id, said = fought(two)
    theirs = vote(two, id, said, owner="bob")
    unknown = vote(two, begin(two)["id"][:12] + "7" + "0" * 19, said)
    assert (theirs.status_code, unknown.status_code) == (404, 404)
    assert theirs.text == unknown.text


def test_answers_of_other_battles_void_this_one_and_tell_nothing(two: "World") -> None:
    id, said = fought(two)
    wrong = vote(two, id, said[::-1])
    assert wrong.status_code == 409
    assert "policy-" not in wrong.text
    assert vote(two, id, said).status_code == 404
    assert list(labels.read(two.ledger)) == []


def test_answer_that_was_not_logged_cannot_be_voted_on(two: "World") -> None:
    id, said = fought(two)
    missing = make_interaction(customer="ada")
    assert vote(two, id, [said[0], missing]).status_code == 404
    assert vote(two, id, said).status_code == 200


def test_answer_that_is_still_being_written_is_a_conflict(two: "World") -> None:
    id, said = fought(two)
    two.recorder.held[said[1].id] = make_interaction(
        id=said[1].id,
        customer="ada",
        created_at=utc_now(),
        finish_reason="",
        completion="",
        policy_version=said[1].policy_version,
    )
    assert vote(two, id, said).status_code == 409
    two.recorder.held.clear()
    assert vote(two, id, said).status_code == 200


def test_battle_is_gone_after_a_day(two: "World") -> None:
    _, said = fought(two)
    old_ms = int((time.time() - votes.BATTLE_S - 60) * 1000)
    answer = vote(two, f"{old_ms:012x}7" + "0" * 19, said)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "expired")


def test_key_without_consent_neither_begins_nor_votes(two: "World") -> None:
    id, said = fought(two)
    two.secrets["client", "ada"], _ = access.create(two.ledger, "client", "ada", consent=False)
    assert two.call("POST", "/v1/battles", role="client").status_code == 403
    assert vote(two, id, said).status_code == 403
    assert list(labels.read(two.ledger)) == []


def test_battles_of_a_day_are_bounded(two: "World") -> None:
    for _ in range(two.deps.settings.battles_per_day):
        two.deps.battles.begin("ada")
    answer = two.call("POST", "/v1/battles", role="client")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert begin(two, "bob")["left_today"] == two.deps.settings.battles_per_day - 1


@pytest.mark.parametrize(
    "fields", [{"verdict": "c"}, {"verdict": None}, {"a": ""}, {"b": 7}, {"weight": 2}, {"id": "a b"}]
)
def test_unusable_vote_is_refused(two: "World", fields: dict[str, Any]) -> None:
    id, said = fought(two)
    answer = vote(two, id, said, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == next(iter(fields))


@pytest.mark.vllm
@pytest.mark.slow
def test_real_battle_hides_its_versions_until_the_vote_and_tells_the_truth_then(server: "Server") -> None:
    headers = server.auth()
    begun = httpx.post(f"{server.url}/v1/battles", headers=headers, timeout=30)
    assert begun.status_code == 200, begun.text
    said = []
    for side, stream in zip(begun.json()["sides"], (False, True), strict=True):
        answer = server.ask(model=side, max_tokens=16, stream=stream, return_token_ids=True)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-policy-version"] == side
        assert not re.search(r"policy-\d", answer.text + str(answer.headers))
        said.append(answer.headers["x-request-id"])
        assert server.ask(role="private", model=side).status_code == 404
    url = f"{server.url}/v1/battles/{begun.json()['id']}/vote"
    vote = {"verdict": "tie", "a": said[0], "b": said[1]}
    revealed = httpx.post(url, json=vote, headers=headers, timeout=30)
    assert revealed.status_code == 200, revealed.text
    versions = revealed.json()["versions"]
    comparison = comparisons.get(server.ledger, f"cmp_{begun.json()['id']}")
    assert [each.policy_version for each in comparison.completions] == [versions["a"], versions["b"]]
    for each in comparison.completions:
        reference = server.references[each.policy_version]
        expected = reference.tokenizer.decode(reference.chat("hello", 16), skip_special_tokens=True)
        assert each.text.rstrip("\ufffd") == expected.rstrip("\ufffd")
    assert httpx.post(url, json=vote, headers=headers, timeout=30).status_code == 409
