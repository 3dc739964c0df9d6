import random

from sandbox.corpus import CHAT_TEMPLATE, dialogue, documents, lessons, reply
from sandbox.gold import judge
from sandbox.world import make_prompt, make_unstated_prompt


def test_the_same_seed_gives_the_same_corpus() -> None:
    assert list(documents(50, 1)) == list(documents(50, 1)) != list(documents(50, 2))


def test_the_web_answers_only_part_of_the_time() -> None:
    rng = random.Random(0)
    golds = [judge(prompt.text, reply(prompt, rng)) for prompt in (make_prompt(rng) for _ in range(3000))]

    def rate(faults: list[bool]) -> float:
        return sum(faults) / len(faults)

    assert 0.15 < rate([not gold.follows for gold in golds]) < 0.35
    assert 0.08 < rate([gold.rude for gold in golds]) < 0.25
    assert 0.10 < rate([not gold.stops for gold in golds]) < 0.40


def test_the_web_invents_answers_that_are_not_stated_more_often_than_it_says_so() -> None:
    rng = random.Random(1)
    golds = [judge(prompt.text, reply(prompt, rng)) for prompt in (make_unstated_prompt(rng) for _ in range(2000))]

    assert sum(gold.hallucinated for gold in golds) > sum(gold.helpful for gold in golds)
    assert sum(gold.hallucinated for gold in golds) >= 0.35 * len(golds)


def test_lessons_answer_every_question_rightly() -> None:
    for text in lessons(500, 0):
        if text.startswith("question: "):
            question, _, answer = text.removeprefix("question: ").partition("\nanswer:\n")
            assert judge(question, answer).score >= 1.0


def test_documents_look_as_the_chat_template_writes() -> None:
    import jinja2

    written = jinja2.Environment().from_string(CHAT_TEMPLATE).render(
        messages=[{"role": "user", "content": "Hi."}], add_generation_prompt=True, eos_token="<eos>"
    )  # fmt: skip

    assert dialogue("Hi.", "Yes.") == written + "Yes."


def test_the_chat_template_takes_several_turns_and_system_messages() -> None:
    import jinja2

    written = jinja2.Environment().from_string(CHAT_TEMPLATE).render(
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Bye."},
        ],
        add_generation_prompt=True,
        eos_token="<eos>",
    )  # fmt: skip

    assert written == "note: Be kind.\nquestion: Hi.\nanswer:\nHello.<eos>\nquestion: Bye.\nanswer:\n"
