"""Guidelines over HTTP: read, acknowledged, published."""

from typing import TYPE_CHECKING

import pytest

from feedback import guidelines, labelers

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "/v1/labeling/guidelines"
NEW = {"text": "# Rules\n\nBe kind.", "change": "All new."}


def test_the_built_in_guidelines_come_with_the_flags_and_ask_for_nothing(world: "World") -> None:
    found = world.call("GET", PATH, role="labeler").json()
    assert (found["version"], found["to_acknowledge"], found["acknowledged"]) == ("1", False, "")
    assert found["text"] == guidelines.built_in().text
    assert found["flag_set_version"] == "1"
    assert [flag["name"] for flag in found["flags"]] == [flag.name for flag in guidelines.FLAGS]
    assert [flag["name"] for flag in found["flags"] if flag["closed_domain_only"]] == ["hallucination"]


def test_a_published_version_is_to_be_acknowledged_once(world: "World") -> None:
    made = world.call("POST", "/v1/operations/guidelines", NEW, role="operator")
    assert made.json()["version"] == "2"
    found = world.call("GET", PATH, role="labeler").json()
    assert (found["version"], found["change"], found["to_acknowledge"]) == ("2", "All new.", True)
    assert [each["version"] for each in found["history"]] == ["2", "1"]
    answer = world.call("POST", f"{PATH}/2/acknowledge", role="labeler")
    assert answer.json() == {"acknowledged": "2"}
    assert labelers.standing(world.ledger, "ada").acknowledged == "2"
    assert not world.call("GET", PATH, role="labeler").json()["to_acknowledge"]
    assert world.call("GET", PATH, role="labeler", owner="bob").json()["to_acknowledge"]


def test_an_old_or_unknown_version_is_not_acknowledged(world: "World") -> None:
    world.call("POST", "/v1/operations/guidelines", NEW, role="operator")
    assert world.call("POST", f"{PATH}/1/acknowledge", role="labeler").status_code == 409
    assert world.call("POST", f"{PATH}/3/acknowledge", role="labeler").status_code == 404
    assert labelers.standing(world.ledger, "ada").acknowledged == ""


def test_operators_see_all_versions_with_their_texts(world: "World") -> None:
    world.call("POST", "/v1/operations/guidelines", {**NEW, "must_acknowledge": False}, role="operator")
    found = world.call("GET", "/v1/operations/guidelines", role="operator").json()
    assert [each["text"] for each in found] == [NEW["text"], guidelines.built_in().text]
    assert found[0]["must_acknowledge"] is False


@pytest.mark.parametrize(
    "body", [{"text": "x"}, {"text": "", "change": "x"}, {"text": " ", "change": "x"}, {**NEW, "version": "9"}]
)
def test_what_is_no_guideline_is_refused(world: "World", body: dict[str, str]) -> None:
    assert world.call("POST", "/v1/operations/guidelines", body, role="operator").status_code == 400
    assert guidelines.current(world.ledger).version == "1"
