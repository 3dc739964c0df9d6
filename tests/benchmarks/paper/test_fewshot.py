"""Worked examples stand before the prompt, in the form that was chosen, and never from what is measured."""

from benchmarks.paper.fewshot import PREFIX, Prefix, as_messages, candidates, exercise_messages, search
from benchmarks.paper.tasks import exercises
from sandbox.gold import judge
from sandbox.world import read_prompt

TWO = (("How many?", "Two."), ("Where?", "In Rome."))


def test_turns_are_a_chat_that_ends_with_the_prompt() -> None:
    messages = as_messages(Prefix("turns", TWO), "Who?")
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2 + ["user"]
    assert [message["content"] for message in messages] == ["How many?", "Two.", "Where?", "In Rome.", "Who?"]


def test_other_forms_are_one_message() -> None:
    (text,) = as_messages(Prefix("text", TWO[:1]), "Who?")
    (line,) = as_messages(Prefix("line", TWO), "Who?")
    assert text == {"role": "user", "content": "How many?\nanswer:\nTwo.\nquestion: Who?"}
    assert line["content"] == "How many? Two. Where? In Rome. Who?"


def test_every_example_of_every_candidate_is_right_and_shows_what_is_not_stated() -> None:
    found = list(candidates(3))
    assert {len(prefix.examples) for prefix in found} == {1, 2, 3}
    for prefix in found:
        golds = [judge(*example) for example in prefix.examples]
        assert all(gold.helpful == 1 and gold.truthful and gold.stops for gold in golds), prefix
        tasks = [read_prompt(prompt) for prompt, _ in prefix.examples]
        assert len(tasks) == 1 or any(task and task.unstated for task in tasks)


def test_the_prefix_is_one_of_the_candidates() -> None:
    assert PREFIX in list(candidates(12))


def test_exercises_are_shown_with_training_exercises_of_their_task() -> None:
    measured = {each.prompt for each in exercises(4000, 7, "test")}
    for each in exercises(12, 1, "test"):
        *shown, last = exercise_messages(each, shots=2)
        assert last["content"] == each.prompt
        assert len(shown) == 4
        assert not {message["content"] for message in shown} & measured
        assert shown == exercise_messages(each, shots=2)[:-1]


def test_search_returns_the_best_first_and_the_earlier_of_equals() -> None:
    found = [Prefix("line", ((word, "."),)) for word in ("a", "bb", "cc", "d")]
    best = search(found, lambda prefix: len(prefix.examples[0][0]), finalists=3)
    assert best == [(2, found[1]), (2, found[2]), (1, found[0])]
