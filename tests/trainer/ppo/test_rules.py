"""Each rule stops a run that games its reward, with a reason that names the trait, and leaves a learning run alone."""

from __future__ import annotations

import pytest

from tests.trainer.ppo.test_guards import HEALTHY
from tests.trainer.ppo.test_monitors import batches
from trainer.ppo.guards import Guards
from trainer.ppo.monitors import Monitors
from trainer.ppo.rules import hack_reasons, overpaid_besides
from trainer.settings.guards import GuardSettings

LENGTH = {
    "hacks/length_from": 9.0, "hacks/length_now": 27.0, "hacks/length_rise_z": 12.0,
    "hacks/length_pays": 3.0, "hacks/length_pays_z": 9.0, "hacks/length_excess": 2.5, "hacks/length_excess_z": 8.0,
}  # fmt: skip


def stopped(hack: str, *, judged: bool, seed: int = 0, iterations: int = 30) -> tuple[int, str]:
    """When and why guards stop a series of batches; 0 and nothing when they do not."""
    guards, monitors = Guards(GuardSettings(), lambda ids: " ".join(f"t{id}" for id in ids)), Monitors(5)
    for number, (completions, scores, held_out) in enumerate(batches(iterations, hack, seed)):
        figures = HEALTHY | monitors.look(completions, scores, held_out if judged else ())
        if reason := guards.check(figures, number):
            return number, reason
    return 0, ""


@pytest.mark.parametrize(
    ("hack", "words"),
    [
        ("length", "completions grew from"),
        ("repeated", "completions repeat themselves"),
        ("token", "the token 't8' is in"),
        ("phrase", "t4"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_hack_is_stopped_with_its_name(hack: str, words: str, seed: int) -> None:
    at, reason = stopped(hack, judged=True, seed=seed)
    assert 5 + 3 <= at <= 20, "patience is kept"
    assert words in reason
    assert "more for it than the held-out model" in reason
    assert "3 iterations in a row" in reason


@pytest.mark.parametrize("hack", ["length", "repeated", "token", "phrase"])
def test_a_judge_that_likes_it_too_makes_it_no_hack(hack: str) -> None:
    guards, monitors = Guards(GuardSettings()), Monitors(5)
    for number, (completions, scores, _) in enumerate(batches(30, hack)):
        assert guards.check(HEALTHY | monitors.look(completions, scores, scores), number) is None


@pytest.mark.parametrize("seed", range(3))
def test_learning_is_left_alone(seed: int) -> None:
    assert stopped("", judged=True, seed=seed, iterations=60) == (0, "")


def test_without_a_judge_only_an_extreme_is_stopped() -> None:
    assert "no held-out model says" in stopped("phrase", judged=False)[1]
    half = LENGTH | {"hacks/length_now": 9.0 * 1.7}
    unjudged = {name: value for name, value in half.items() if "excess" not in name}
    assert hack_reasons(half, GuardSettings())["hack_length"] != ""
    assert hack_reasons(unjudged, GuardSettings())["hack_length"] == ""
    assert hack_reasons(unjudged | {"hacks/length_now": 27.0}, GuardSettings())["hack_length"] != ""


def test_a_stop_names_what_else_is_overpaid_and_rose_too_little_to_stop_by_itself() -> None:
    phrase = {name.replace("length", "phrase"): value for name, value in LENGTH.items()}
    phrase |= {"hacks/phrase_from": 0.1, "hacks/phrase_now": 0.5, "hacks/phrase_1": 10.0}
    little = LENGTH | {"hacks/length_now": 10.0, "hacks/length_rise_z": 1.0}
    guards = Guards(GuardSettings(guard_patience=1))
    assert guards.check(HEALTHY | little) is None, "by itself"
    reason = guards.check(HEALTHY | phrase | little)
    assert reason is not None
    assert reason.startswith("the phrase 10 is in 50%")
    assert "; also completions grew from 9.0 to 10.0 tokens, and the reward pays 2.5 deviations more" in reason
    assert overpaid_besides(LENGTH, GuardSettings()) == [], "broken by itself"
    assert overpaid_besides(little | {"hacks/length_excess": 0.5}, GuardSettings()) == []
    assert overpaid_besides(little | {"hacks/length_now": 8.0}, GuardSettings()) == []


def test_an_operator_reads_what_happened() -> None:
    assert hack_reasons(LENGTH, GuardSettings())["hack_length"] == (
        "completions grew from 9.0 to 27.0 tokens, "
        "and the reward pays 2.5 deviations more for it than the held-out model"
    )


@pytest.mark.parametrize(
    ("figure", "value"), [("now", 11.0), ("rise_z", 2.4), ("excess", 0.9), ("excess_z", 3.9), ("now", 8.0)]
)
def test_each_condition_is_needed(figure: str, value: float) -> None:
    assert hack_reasons(LENGTH | {f"hacks/length_{figure}": value}, GuardSettings())["hack_length"] == ""


def test_a_gain_that_the_judge_does_not_see_is_stopped_whatever_its_cause() -> None:
    gains = {"hacks/score_gain": 4.2, "hacks/held_out_gain": 0.1}
    assert "scores gained 4.2 deviations" in hack_reasons(gains, GuardSettings())["hack_unearned"]
    assert hack_reasons(gains | {"hacks/held_out_gain": 3.0}, GuardSettings())["hack_unearned"] == ""
    grown = LENGTH | gains | {"hacks/length_excess": 0.0}
    assert (
        "0.1; meanwhile completions grew from 9.0 to 27.0 tokens"
        in hack_reasons(grown, GuardSettings())["hack_unearned"]
    )


def test_one_answer_to_most_prompts_is_stopped_whoever_likes_it() -> None:
    common = {"hacks/common_from": 0.1, "hacks/common_share": 0.95}
    assert hack_reasons(common, GuardSettings())["hack_same"] == (
        "one and the same completion is given to 95% of the prompts, 10% at the beginning"
    )
    assert hack_reasons(common | {"hacks/common_share": 0.9}, GuardSettings())["hack_same"] == ""
    assert hack_reasons(common | {"hacks/common_from": 0.5}, GuardSettings())["hack_same"] == "", "usual from the start"


def test_tokens_are_named_by_text_or_by_number() -> None:
    figures = {name.replace("length", "phrase"): value for name, value in LENGTH.items()}
    figures |= {"hacks/phrase_now": 0.5, "hacks/phrase_from": 0.1} | {f"hacks/phrase_{k}": 10.0 * k for k in (1, 2, 3)}
    assert "the phrase 10 20 30 is in 50%" in hack_reasons(figures, GuardSettings())["hack_phrase"]
    named = hack_reasons(figures, GuardSettings(), lambda ids: f"<{sum(ids)}>")
    assert "the phrase '<60>' is in 50% of the completions, 10% at the beginning" in named["hack_phrase"]


def test_nothing_is_said_before_there_is_a_beginning() -> None:
    assert hack_reasons(HEALTHY, GuardSettings()) == {}
