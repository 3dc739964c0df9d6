"""Use cases: wordings of each, the sandbox's own, and every tag a reason."""

import random

import pytest

from feedback.curation.use_cases import use_case
from feedback.records import Message
from sandbox.world import make_prompt
from tests.builders import make_messages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write a short story about a bear who goes to the beach.", "generation"),
        ("Could you please draft an e-mail to my landlord?", "generation"),
        ("For my shop: Write a slogan.", "generation"),
        ("Who built the statue of liberty?", "open_qa"),
        ("Explain how a transistor works.", "open_qa"),
        ("List five ideas for how to regain enthusiasm for my career", "brainstorming"),
        ("Give me a few names for a grey cat", "brainstorming"),
        ("Hi! I feel a little lonely today.", "chat"),
        ("Act as a pirate and greet me.", "chat"),
        ("Rewrite this paragraph in simpler words: It is so.", "rewrite"),
        ("Translate to Spanish: Good morning.", "rewrite"),
        ("Please summarize this article for a child: ...", "summarization"),
        ("Classify the review as good or bad: I loved it.", "classification"),
        ("Is a whale a fish or a mammal?", "classification"),
        ("Ada likes red. Ben likes blue. What does Ben like?", "closed_qa"),
        ("According to the following passage, when was it built? It was built in 1066.", "closed_qa"),
        ("Extract all place names from the text below.", "extract"),
        ("42", "other"),
    ],
)
def test_a_wording_gives_the_use_case_away(text: str, expected: str) -> None:
    found, why = use_case(make_messages(text))
    assert found == expected
    assert why


def test_a_conversation_is_chat() -> None:
    messages = [*make_messages("Name a fruit."), Message(role="assistant", content="Pear."), *make_messages("Another?")]
    assert use_case(messages) == ("chat", "it goes on with a conversation")


def test_the_last_question_counts_and_no_system_prompt() -> None:
    assert use_case([Message(role="system", content="Summarize."), *make_messages("Who was Ada?")])[0] == "open_qa"
    assert use_case([])[0] == "other"


def test_prompts_of_the_sandbox_are_what_they_were_made_as() -> None:
    rng = random.Random(2)
    made = [make_prompt(rng) for _ in range(1000)]
    wrong = [
        (each.text, each.task.use_case)
        for each in made
        if use_case(make_messages(each.text))[0] != each.task.use_case.replace("summarisation", "summarization")
    ]
    assert wrong == []
