"""What a written prompt gives: the three kinds, k items of k pairs, masked, in one split."""

import pytest

from feedback.curation import Rules, split_of
from feedback.records import Shot, WrittenPrompt
from feedback.written_items import conversation, items, problem
from tests.builders import make_written

RULES = Rules()
SHOTS = [Shot(query=f"city {number}", response=f"country {number}") for number in range(4)]


def few_shot(shots: list[Shot] = SHOTS) -> WrittenPrompt:
    return make_written("Name the country.", kind="few_shot", shots=shots)


@pytest.mark.parametrize("kind", ["plain", "user_based"])
def test_a_plain_prompt_gives_one_item_without_a_demonstration(kind: str) -> None:
    [item] = items(make_written("Write a poem.", kind=kind, use_case="generation"), RULES)
    prompt = item.prompt
    assert [message.content for message in prompt.messages] == ["Write a poem."]
    assert (prompt.source, prompt.author, prompt.kind) == ("labeler", "lee", kind)
    assert (prompt.customer, prompt.use_case) == ("labeler:lee", "generation")
    assert item.demonstration is None


def test_the_language_is_that_of_what_was_written() -> None:
    [item] = items(make_written("Schreibe bitte ein kurzes Gedicht über den Herbst und den Regen."), RULES)
    assert item.prompt.language == "de"


def test_k_pairs_give_k_items_each_with_the_others_before_its_query() -> None:
    made = items(few_shot(), RULES)
    assert len(made) == 4
    for number, item in enumerate(made):
        shown = [shot for place, shot in enumerate(SHOTS) if place != number]
        assert item.prompt.messages == conversation("Name the country.", shown, SHOTS[number].query)
        assert item.prompt.messages[0].content.startswith("Name the country.\n\ncity ")
        assert [message.role for message in item.prompt.messages] == ["user", "assistant"] * 3 + ["user"]
        assert item.prompt.messages[-1].content == f"city {number}"
        demonstration = item.demonstration
        assert demonstration is not None
        assert (demonstration.response, demonstration.source) == (f"country {number}", "few_shot")
        assert (demonstration.prompt_id, demonstration.messages) == (item.prompt.id, item.prompt.messages)
        assert f"country {number}" not in str(item.prompt.messages), "the answer must not stand in the question"
    assert len({item.prompt.id for item in made}) == len({item.text for item in made}) == 4


def test_ids_follow_from_the_prompts_own_so_that_a_second_look_makes_the_same() -> None:
    written = few_shot()
    assert [item.prompt.id for item in items(written, RULES)] == [item.prompt.id for item in items(written, RULES)]


def test_all_prompts_of_a_labeler_are_of_one_split() -> None:
    split = split_of("labeler:lee", RULES)
    assert {item.prompt.split for item in items(few_shot(), RULES)} == {split}
    assert {item.demonstration.split for item in items(few_shot(), RULES) if item.demonstration} == {split}


def test_personal_data_is_masked_in_prompts_and_responses() -> None:
    address = "ada.lovelace@example.com"
    shots = [Shot(query=f"Who is {address}?", response=f"{address} is Ada."), SHOTS[1]]
    first, second = items(few_shot(shots), RULES)
    for item in (first, second):
        assert item.demonstration is not None
        assert address not in str(item.prompt.messages)
        assert address not in item.demonstration.response
        assert sum(item.prompt.masked.values()) >= 1
    [plain] = items(make_written(f"Write to {address}."), RULES)
    assert address not in plain.prompt.messages[0].content


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (make_written(" \n"), "write the prompt first"),
        (few_shot(SHOTS[:1]), "at least 2 pairs"),
        (few_shot(SHOTS * 5), "at most 16 pairs"),
        (few_shot([*SHOTS, Shot(query="city", response=" ")]), "pair 5 needs both"),
        (few_shot([*SHOTS, Shot(query=" CITY  1", response="x")]), "two pairs ask the same"),
        (make_written("Hello", shots=SHOTS), "only a few-shot prompt has pairs"),
        (make_written("", kind="few_shot", shots=SHOTS), "write the instruction first"),
        (make_written("x" * 16_001), "longer than"),
    ],
)
def test_what_is_missing_is_said(written: WrittenPrompt, words: str) -> None:
    assert words in problem(written)


def test_a_whole_prompt_lacks_nothing() -> None:
    assert [problem(few_shot()), problem(make_written("Write a poem."))] == ["", ""]
