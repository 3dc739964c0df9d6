"""The problem that two PPO trainers are given: its reward model says what its rule says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaForSequenceClassification

from benchmarks.ppo_ours import ready_models, settings
from benchmarks.ppo_world import EOS, GAIN, PAD, PROMPT_TOKENS, Problem, shared_settings
from trainer.data.reading import Counts, Limits, read_prompts
from trainer.models.policies import load_policy, load_tokenizer
from trainer.models.scalar import ScalarModel


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    problem = Problem(tmp_path_factory.mktemp("ppo") / "problem", vocabulary=64, width=32, layers=2).write()
    ready_models(problem.directory)
    return problem


def completions(problem: Problem) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(2, problem.vocabulary, (n,), generator=generator).tolist() for n in (1, 5, 9, 32)]
    return [*rows, [EOS], [*rows[1], EOS], list(problem.good)]


def test_both_layouts_of_the_reward_model_give_what_the_rule_gives(problem: Problem) -> None:
    prompt = problem.prompts(1, seed=0)[0]
    classifier = LlamaForSequenceClassification.from_pretrained(problem.directory / "reward")
    ours = ScalarModel.load(problem.directory / "our-reward")
    expected = problem.gold(completions(problem))
    assert max(expected) > 0.5
    assert min(expected) == 0.0
    with torch.no_grad():
        for completion, gold in zip(completions(problem), expected, strict=True):
            ids = torch.tensor([prompt + completion])
            assert float(classifier(ids).logits) == pytest.approx(gold, abs=2e-3)
            assert float(ours.score(ids, torch.ones_like(ids))) == pytest.approx(gold, abs=2e-3)


def test_the_rule_by_hand(problem: Problem) -> None:
    good, other = problem.good[0], problem.good.stop
    assert problem.gold([[good, other, EOS]]) == [GAIN / (PROMPT_TOKENS + 3)]


def test_both_sides_read_the_same_prompts_and_none_holds_a_good_token(problem: Problem) -> None:
    rows = problem.prompts(1024, seed=4)
    limits = Limits(prompt_tokens=PROMPT_TOKENS, completion_tokens=8)
    tokenizer = load_tokenizer(problem.directory / "policy")
    read = read_prompts([problem.directory / "prompts.jsonl"], tokenizer, limits, Counts())
    assert [prompt.prompt_ids for prompt in read] == rows
    assert not set(problem.good) & {token for row in rows for token in row}


@torch.no_grad()
def test_padding_is_never_drawn(problem: Problem) -> None:
    policy = load_policy(problem.directory / "policy")
    chances = policy(input_ids=torch.tensor(problem.prompts(4, seed=1))).logits.softmax(-1)
    assert float(chances[..., PAD].max()) < 1e-6
    assert float(chances[..., EOS].min()) > 1e-3


def test_our_settings_are_what_both_sides_are_told(problem: Problem, tmp_path: Path) -> None:
    given = shared_settings() | {
        "directory": str(problem.directory), "output": str(tmp_path), "iterations": 3, "seed": 7,
        "settings": {"max_grad_norm": 1.0},
    }  # fmt: skip
    told = settings(given)
    assert (told.iterations, told.batch_size, told.minibatches, told.seed) == (3, 64, 8, 7)
    assert (told.lr, told.value_lr, told.kl_coef, told.temperature) == (5e-4, 5e-4, 0.02, 1.0)
    assert (told.missing_eos, told.missing_eos_penalty, told.max_grad_norm) == ("subtract", 1.0, 1.0)
    assert (told.ema_decay, told.warmup_iterations, told.ptx_per_minibatch) == (0.0, 0, 0)
