"""People are who they are said to be, and the same seed asks the same of all of them."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.judged_worlds import PLANTED, STRONG, Judges, as_split, judged_rows
from benchmarks.ranked_rounds import World
from sandbox.__main__ import prompt_rows


@pytest.fixture(scope="module")
def world() -> World:
    """Sixty prompts, and completions that differ."""
    prompts = list(prompt_rows(60, 1, "train"))
    texts = {"base": ["red", "What a stupid question."], "sft": ["The answer is red.", "blue"]}
    completions = {
        ("train", name): {row["id"]: [{"text": text, "finished": True} for text in by * 2] for row in prompts}
        for name, by in texts.items()
    }
    return cast(World, SimpleNamespace(prompts={"train": prompts}, completions=completions))


def test_one_of_twelve_has_the_planted_bias_and_the_others_none() -> None:
    plain = Judges.unbiased().people[0].labeler
    for kind in PLANTED:
        people = Judges.biased(kind, 14).people
        odd = [place for place, each in enumerate(people) if (each.labeler.brevity, each.labeler.courtesy,
               each.labeler.haste) != (plain.brevity, plain.courtesy, plain.haste)]  # fmt: skip
        assert odd == [2]
        assert len({each.labeler.name for each in people}) == 12
    assert set(STRONG) < set(PLANTED)


def test_a_busy_one_does_a_fifth_and_the_contrary_are_contrary() -> None:
    people = Judges.ordinary(10, contrary=(3,), busy=3).people
    assert people[3].share / sum(each.share for each in people) == pytest.approx(0.2)
    assert [each.labeler.contrary for each in people] == [place == 3 for place in range(10)]
    assert {each.group for each in Judges.two_tastes().people} == {"brief people", "kind people"}


def test_the_same_seed_asks_the_same_whoever_judges_and_only_the_contrary_say_otherwise(world: World) -> None:
    honest = judged_rows(world, Judges.ordinary(10), "train", 7, 50)
    turned = judged_rows(world, Judges.ordinary(10, contrary=(3,)), "train", 7, 50)
    assert [row["id"] for row in honest] == [row["id"] for row in turned]
    (name,) = {row["comparisons"][0]["annotator"] for row in honest} & {"training-labeler-04"}
    for one, other in zip(honest, turned, strict=True):
        assert one["responses"] == other["responses"]
        assert one["display_order"] == other["display_order"]
        if one["comparisons"][0]["annotator"] != name:
            assert one["comparisons"] == other["comparisons"]
    assert honest != turned
    assert judged_rows(world, Judges.ordinary(10), "train", 8, 50) != honest


def test_rows_say_how_courteous_each_completion_is_if_asked_to(world: World) -> None:
    (row, *_) = judged_rows(world, Judges.unbiased(), "train", 7, 5, features=True)
    found: list[Any] = [each["features"]["courtesy"] for each in row["responses"]]
    assert all(0 <= value <= 1 for value in found)
    assert sorted(row["display_order"]) == [0, 1, 2, 3]
    (named,) = as_split([row], "valid")
    assert (named["split"], named["id"]) == ("valid", f"valid-{row['id']}")
