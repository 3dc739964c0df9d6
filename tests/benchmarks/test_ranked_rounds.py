"""The rounds drift as they say, nobody is dealt twice, and gold pairs are those that the gold taste tells apart."""

import random
from typing import Any

from benchmarks.ranked_rounds import EARLY, ROUNDS, K, answered, base_share, deal, early_share, gold_pairs
from sandbox.__main__ import prompt_rows


def share(prompts: list[dict[str, Any]]) -> float:
    return sum(prompt["use_case"] in EARLY for prompt in prompts) / len(prompts)


def test_rounds_ask_less_and_less_of_the_early_use_cases() -> None:
    prompts = list(prompt_rows(600, 0, "train"))
    dealt = deal(prompts, range(ROUNDS), 50, 0)
    assert [len(each) for each in dealt] == [50] * ROUNDS
    ids = [prompt["id"] for each in dealt for prompt in each]
    assert len(set(ids)) == len(ids)
    assert abs(share(dealt[0]) - early_share(0)) < 0.02
    assert abs(share(dealt[-1]) - early_share(ROUNDS - 1)) < 0.02
    assert deal(prompts, range(ROUNDS), 50, 0) == dealt != deal(prompts, range(ROUNDS), 50, 1)


def test_all_are_dealt_where_there_are_just_enough() -> None:
    prompts = list(prompt_rows(200, 0, "train"))
    assert sum(map(len, deal(prompts, range(ROUNDS), 20, 0))) == 200


def test_the_first_round_is_the_base_models_and_the_last_the_policys() -> None:
    base, policy = ([{"text": f"{who}{n}", "finished": True} for n in range(K)] for who in "bp")
    texts = [
        [each["text"] for each in answered({"id": "1"}, base, policy, number, random.Random(0))["responses"]]
        for number in (0, ROUNDS - 1)
    ]
    assert texts == [["b0", "b1", "b2", "b3"], ["p0", "p1", "p2", "p3"]]
    assert (base_share(0), base_share(ROUNDS - 1)) == (1.0, 0.0)


def test_gold_pairs_say_which_is_better() -> None:
    texts = ["Red.", "Blue.", "Red."]
    row = {
        "prompt": "What is the color of blood?",
        "responses": [{"text": text, "finished": True} for text in texts],
    }
    pairs = gold_pairs(row)
    assert set(pairs) in ({(0, 1), (2, 1)}, {(1, 0), (1, 2)})
