import random

import jinja2

from sandbox.corpus import CHAT_TEMPLATE, END, dialogue, documents, lessons, reaction, reply
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


def test_lessons_answer_most_questions_rightly() -> None:
    threads = [text for text in lessons(2000, 0) if text.startswith("question: ")]

    def score(text: str) -> float:
        question, _, answer = text.removeprefix("question: ").partition("\nanswer:\n")
        return judge(question, answer.partition(END)[0]).score

    assert sum(score(text) >= 1.0 for text in threads) / len(threads) > 0.75


def test_readers_mostly_say_what_is_wrong_with_a_reply() -> None:
    rng = random.Random(2)
    question = "Mia lives in Rome. Where does Mia live?"

    def most_often(answer: str) -> str:
        said = [reaction(question, answer, rng) for _ in range(200)]
        return max(set(said), key=said.count)

    assert most_often("Sure: Mia lives in Rome.") == "Thanks."
    assert most_often("Mia lives in Oslo.") == "Wrong."
    assert most_often("In Rome, you fool.") == "Rude."
    assert most_often("Count to two for Tom.") == "What?"
    assert most_often("In Rome. The fox is shy.") == "Boring."


def test_documents_look_as_the_chat_template_writes() -> None:
    written = jinja2.Environment().from_string(CHAT_TEMPLATE).render(
        messages=[{"role": "user", "content": "Hi."}], add_generation_prompt=True, eos_token="<eos>"
    )  # fmt: skip

    assert dialogue("Hi.", "Yes.") == written + "Yes."


def test_the_chat_template_takes_several_turns_and_system_messages() -> None:
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
