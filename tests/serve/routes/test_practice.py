"""Practice over HTTP: ten items in turn, judged and explained, and nothing that becomes a label."""

from typing import TYPE_CHECKING, Any

import pytest

from feedback import keys, labelers, practice
from feedback.practice import Item

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "/v1/labeling/practice"


def best(item: Item) -> list[list[int]]:
    """Return a ranking that satisfies the item's pairs."""
    left, ranking = set(range(len(item.completions))), []
    while left:
        first = min(i for i in left if not any(worse == i and better in left for better, worse in item.pairs))
        ranking.append([first])
        left.remove(first)
    return ranking


def answer(world: "World", id: str, ranking: list[list[int]], **fields: Any) -> Any:
    return world.call("POST", f"{PATH}/{id}", {"ranking": ranking, **fields}, role="labeler")


def test_an_item_is_shown_like_every_other_and_tells_nothing_of_the_answer(world: "World") -> None:
    found = world.call("GET", PATH, role="labeler").json()
    item = found.pop("item")
    assert found == {"answered": 0, "right": 0, "of": 10, "passed": False, "pass_percent": 70}
    assert set(item) == {"id", "kind", "messages", "completions"}
    # explanations speak of the first and the second answer, so everybody sees them in the same order
    assert [each["index"] for each in item["completions"]] == [0, 1, 2]
    assert [each["text"] for each in item["completions"]] == practice.built_in()[0].completions


def test_ten_right_answers_pass_and_become_no_labels(world: "World") -> None:
    for number, item in enumerate(practice.built_in(), 1):
        assert world.call("GET", PATH, role="labeler").json()["item"]["id"] == item.id
        told = answer(world, item.id, best(item)).json()
        assert (told["passed"], told["wrong"], told["explanation"]) == (True, [], item.explanation)
        assert told["score"]["right"] == told["score"]["answered"] == number
    done = world.call("GET", PATH, role="labeler").json()
    assert (done["passed"], done["item"]) == (True, None)
    assert labelers.standing(world.ledger, "ada").practice_passed
    assert world.ledger.redis.xlen(keys.LABELS) == 0


def test_a_wrong_answer_is_explained_and_one_may_start_over(world: "World") -> None:
    item = practice.built_in()[0]
    told = answer(world, "1", best(item)[::-1]).json()
    assert not told["passed"]
    assert told["wrong"] == told["expected"] == [list(pair) for pair in item.pairs]
    assert told["score"]["answered"] == 1
    assert world.call("POST", PATH, role="labeler").json()["answered"] == 0


@pytest.mark.parametrize(
    ("id", "body", "status"),
    [
        ("11", {"ranking": [[0]]}, 404),
        ("1", {"ranking": [[0], [0]]}, 400),
        ("1", {"ranking": [[8]]}, 400),
        ("1", {"ranking": [["0"]]}, 400),
        ("1", {}, 400),
    ],
)
def test_what_is_no_answer_is_refused(world: "World", id: str, body: Any, status: int) -> None:
    assert world.call("POST", f"{PATH}/{id}", body, role="labeler").status_code == status
