import random
from dataclasses import replace

import pytest

from sandbox.corpus import reply
from sandbox.gold import judge
from sandbox.labelers import (
    GROUP_SIZES,
    Labeler,
    View,
    agreement,
    assess,
    make_labelers,
    noise_ceiling,
    write_demonstration,
)
from sandbox.world import make_prompt, make_unstated_prompt

COMPLETIONS = [("In Rome.", True), ("Sure: Mia lives in Rome.", True), ("In Oslo, you fool.", True), ("Mia", False)]
PROMPT = "Mia lives in Rome. Where does Mia live?"


def group(name: str) -> list[Labeler]:
    return [labeler for labeler in make_labelers(0) if labeler.group == name]


def items(count: int) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Prompts with four of the labelers' own answers each: about what an SFT policy says."""
    rng = random.Random(5)
    writers = group("training")
    prompts = [make_prompt(rng).text for _ in range(count)]
    return [
        (prompt, [(write_demonstration(rng.choice(writers), prompt, rng), True) for _ in range(4)])
        for prompt in prompts
    ]


def views(labelers: list[Labeler], count: int) -> list[list[View]]:
    rng = random.Random(6)
    return [[assess(one, *item, rng) for one in rng.sample(labelers, 2)] for item in items(count)]


def test_both_groups_are_there_and_every_name_is_its_own() -> None:
    labelers = make_labelers(0)

    assert {name: len(group(name)) for name in GROUP_SIZES} == GROUP_SIZES
    assert len({labeler.name for labeler in labelers}) == len(labelers)
    assert make_labelers(0) == labelers != make_labelers(1)


def test_a_view_ranks_every_completion_once_and_rates_each() -> None:
    for labeler in make_labelers(0):
        view = assess(labeler, PROMPT, COMPLETIONS, random.Random(0))
        assert sorted(index for tied in view.ranking for index in tied) == [0, 1, 2, 3]
        assert len(view.quality) == 4
        assert all(1 <= quality <= 7 for quality in view.quality)


def test_flags_name_what_is_wrong() -> None:
    view = assess(group("training")[0], PROMPT, COMPLETIONS, random.Random(0))

    assert view.flags == {
        "fails_instruction": [3], "inappropriate": [2], "hallucination": [2], "denigrates_protected_class": [2],
    }  # fmt: skip


def test_without_noise_labelers_follow_the_gold_taste() -> None:
    patient = Labeler(
        name="x", group="training", noise=0.0, courtesy=1, strictness=1, sensitivity=1, patience=1, brevity=0
    )

    view = assess(patient, PROMPT, COMPLETIONS, random.Random(0))

    scores = [judge(PROMPT, *completion).score for completion in COMPLETIONS]
    assert [scores[tied[0]] for tied in view.ranking] == sorted(set(scores), reverse=True)


def test_the_contrary_turn_the_taste_round_and_the_hasty_take_what_comes_first() -> None:
    plain = Labeler(
        name="x", group="training", noise=0.0, courtesy=1, strictness=1, sensitivity=1, patience=1, brevity=0
    )
    ranking = assess(plain, PROMPT, COMPLETIONS, random.Random(0)).ranking
    turned = assess(replace(plain, contrary=True), PROMPT, COMPLETIONS, random.Random(0)).ranking
    assert turned == [sorted(tied) for tied in reversed([sorted(tied) for tied in ranking])]
    places = [2, 0, 3, 1]
    hasty = assess(replace(plain, haste=100.0), PROMPT, COMPLETIONS, random.Random(0), places).ranking
    assert hasty == [[1], [3], [0], [2]]


@pytest.mark.parametrize(("name", "paper"), [("training", 0.726), ("held-out", 0.773)])
def test_labelers_agree_about_as_often_as_the_papers_did(name: str, paper: float) -> None:
    mean, low, high = agreement(views(group(name), 700))

    assert low < mean < high
    assert mean == pytest.approx(paper, abs=0.03)


def test_a_perfect_predictor_beats_labelers_but_is_not_always_right() -> None:
    mean, _, _ = agreement(views(group("training"), 500))

    ceiling = noise_ceiling(group("training"), items(500), random.Random(1))

    assert mean < ceiling < 0.95


def test_demonstrations_leave_room_to_learn() -> None:
    rng = random.Random(7)
    writers = group("training")
    prompts = [make_prompt(rng) for _ in range(1500)]
    golds = [judge(prompt.text, write_demonstration(rng.choice(writers), prompt.text, rng)) for prompt in prompts]

    assert 0.03 < sum(gold.rude for gold in golds) / len(golds) < 0.20
    assert 0.05 < sum(not gold.stops for gold in golds) / len(golds) < 0.25
    assert 0.75 < sum(gold.helpful for gold in golds) / len(golds) < 0.97
    unstated = [make_unstated_prompt(rng).text for _ in range(500)]
    invented = [
        judge(prompt, write_demonstration(rng.choice(writers), prompt, rng)).hallucinated for prompt in unstated
    ]
    assert 0.2 < sum(invented) / len(invented) < 0.55


def test_labelers_cope_with_prompts_of_another_world() -> None:
    labeler = group("training")[0]

    assert write_demonstration(labeler, "What is love?", random.Random(0))
    assert assess(labeler, "What is love?", [("Baby.", True)], random.Random(0)).ranking == [[0]]


def test_what_the_web_says_is_judged_worse_than_what_labelers_write() -> None:
    rng = random.Random(8)
    writer = group("training")[0]
    prompts = [make_prompt(rng) for _ in range(500)]

    web = sum(judge(prompt.text, reply(prompt, rng)).score for prompt in prompts)
    written = sum(judge(prompt.text, write_demonstration(writer, prompt.text, rng)).score for prompt in prompts)

    assert web < written
