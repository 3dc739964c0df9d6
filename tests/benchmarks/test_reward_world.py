"""Both sides of the comparison are given the same pairs in the same order, read as the same tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from benchmarks.ppo_world import EOS, Problem
from benchmarks.reward_world import Setting, draw, gold, ready, scalar_model, write
from trainer.data.batches import EpochOrder
from trainer.data.reading import Limits, by_id, read_preferences
from trainer.models.scalar import ScalarModel

SETTING = Setting(k=3, tokens=8, prompts=2, steps=6, seed=5)


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return ready(Problem(tmp_path_factory.mktemp("problem"), vocabulary=64, width=32, layers=2))


def test_ranked_rows_follow_the_rule_and_are_drawn_from_the_seed(problem: Problem) -> None:
    rows = draw(SETTING, problem, 20, 1)
    for row in rows:
        counts = [gold(completion, problem) for completion in row.completions]
        assert counts == sorted(counts, reverse=True)
        assert len(row.prompt) == SETTING.tokens
        assert all(len(each) == SETTING.tokens and each[-1] == EOS for each in row.completions)
    assert rows == draw(SETTING, problem, 20, 1)
    assert rows != draw(SETTING, problem, 20, 2)
    assert SETTING.pairs == 2 * 3


def test_our_stage_reads_the_tokens_and_the_order_that_the_peer_is_given(problem: Problem, tmp_path: Path) -> None:
    write(SETTING, problem, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(problem.directory / "start")
    limits = Limits(prompt_tokens=8, completion_tokens=8)
    groups = by_id(read_preferences([tmp_path / "preferences.jsonl"], tokenizer, limits))
    order = EpochOrder(len(groups), SETTING.prompts, SETTING.seed)
    ours = []
    for _ in range(SETTING.steps):
        for group in (groups[row] for row in order.next()):
            whole = [group.prompt_ids + completion for completion in group.completions]
            ours += [{"chosen_ids": whole[a], "rejected_ids": whole[b]} for a, b in sorted(group.pairs)]
    theirs = json.loads((tmp_path / "pairs.json").read_text())
    assert len(theirs) == SETTING.pairs * SETTING.steps
    assert ours == theirs


def test_both_sides_begin_with_the_same_weights(problem: Problem) -> None:
    theirs, ours = scalar_model(problem.directory / "value"), ScalarModel.load(problem.directory / "start")
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    assert all(tensor.equal(theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())
