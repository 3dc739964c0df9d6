"""Gold figures are shares of what was judged, and an examination is the same every time."""

from pathlib import Path

import pytest

from benchmarks.paper.arms import Place, found
from benchmarks.paper.measure import Examiner, gold_figures, gold_scores
from benchmarks.paper.plan import BY_NAME
from deploy.base import SHIPPED
from sandbox.gold import judge

PROMPT = "What is the color of snow?"


def test_gold_figures_are_means() -> None:
    golds = [judge(PROMPT, text) for text in ("White.", "Sure: The color of snow is white.", "Red.", "White. Red.")]
    figures = gold_figures(golds)
    assert figures["untrue_rate"] == 0.25
    assert figures["stops_rate"] == 0.75
    assert figures["helpful_mean"] == 0.75
    assert figures["gold_mean"] == pytest.approx(sum(gold.score for gold in golds) / 4)


def test_ppos_rule_is_the_gold_score_of_the_last_message() -> None:
    messages = [[{"role": "user", "content": "Hello"}, {"role": "user", "content": PROMPT}]]
    assert gold_scores(messages, ["White."], [True]) == [judge(PROMPT, "White.").score]
    assert gold_scores(messages, ["White."], [False]) == [judge(PROMPT, "White.", False).score]


def test_an_examination_repeats(quick: Place, tmp_path: Path) -> None:
    before = found(quick, BY_NAME["base"])
    again = Examiner(quick.world(), SHIPPED).examine(SHIPPED)
    assert before is not None
    assert again.prompts == before["prompts"]
    assert again.figures == pytest.approx(before["figures"])


def test_worked_examples_come_before_every_prompt(quick: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.paper import measure
    from benchmarks.paper.fewshot import Prefix

    monkeypatch.setattr(measure, "PREFIX", Prefix("turns", ((PROMPT, "White."),)))
    alone, prefixed = (Examiner(quick.world(), SHIPPED).examine(SHIPPED, few_shot=each) for each in (False, True))
    assert alone.prompts != prefixed.prompts
    assert alone.figures["pretraining_loss"] == prefixed.figures["pretraining_loss"]
