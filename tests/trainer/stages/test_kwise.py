"""The K-wise gradient: that of all pairs one by one, every prompt the same weight, ties as a third outcome."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, GPT2Config, GPTNeoXConfig, LlamaConfig

from trainer.data.batches import EpochOrder
from trainer.data.examples import PreferenceGroup
from trainer.maths.ties import TIE_MODELS, TieModel, outcomes
from trainer.models.scalar import ScalarModel
from trainer.models.tie_parameter import TieParameter
from trainer.settings.stages import RewardSettings
from trainer.stages.kwise import KwiseGradient, judgements

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def group(number: int, generator: random.Random, **changes: Any) -> PreferenceGroup:
    size = generator.randint(2, 9)
    completions = [[generator.randint(3, 300) for _ in range(generator.randint(1, 12))] + [2] for _ in range(size)]
    order = generator.sample(range(size), size)
    pairs = [(order[a], order[b]) for a in range(size) for b in range(a + 1, size) if generator.random() < 0.8]
    fields = {
        "id": str(number),
        "messages": [{"role": "user", "content": str(number)}],
        "prompt_ids": [1, *[generator.randint(3, 300) for _ in range(generator.randint(1, 9))]],
        "completions": completions,
        "finished": [True] * size,
        "pairs": pairs or [(0, 1)],
    }
    return PreferenceGroup(**(fields | changes))  # type: ignore[arg-type]


def settings(tmp_path: Path, **changes: Any) -> RewardSettings:
    fields = {"output": tmp_path / "rm", "preferences": [tmp_path / "p.jsonl"], "threads": 1, "lr": 1e-3}
    return RewardSettings.model_validate(fields | changes)


def batch_gradient(model: ScalarModel, groups: list[PreferenceGroup], tmp_path: Path, budget: int) -> float:
    order = EpochOrder(len(groups), len(groups), 0)
    run_settings = settings(tmp_path, micro_batch_tokens=budget)
    return KwiseGradient(model, groups, order, run_settings, 0)()["loss"]


def naive_loss(model: ScalarModel, groups: list[PreferenceGroup]) -> torch.Tensor:
    """Two forward passes a pair, one pair at a time, averaged per prompt and then over prompts."""
    total = torch.zeros(())
    for each in groups:
        losses = []
        for chosen, rejected in each.pairs:
            scores = []
            for completion in (each.completions[chosen], each.completions[rejected]):
                ids = torch.tensor([each.prompt_ids + completion])
                scores.append(model.score(ids, torch.ones_like(ids))[0])
            losses.append(-torch.nn.functional.logsigmoid(scores[0] - scores[1]))
        total = total + torch.stack(losses).mean()
    return total / len(groups)


@pytest.mark.parametrize("budget", [1, 300, 100_000])
def test_gradient_equals_that_of_all_pairs_one_by_one(tmp_path: Path, tiny_policy_dir: Path, budget: int) -> None:
    generator = random.Random(0)
    groups = [group(number, generator) for number in range(4)]
    torch.manual_seed(0)
    model = ScalarModel.from_policy(tiny_policy_dir).double()
    model.head.weight.data.mul_(0.1)
    expected = naive_loss(model, groups)
    gradients = torch.autograd.grad(expected, [p for p in model.parameters() if p.requires_grad])
    loss = batch_gradient(model, groups, tmp_path, budget)
    assert math.isclose(loss, float(expected.detach()), abs_tol=1e-6)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)


TRUNKS: dict[str, Any] = {
    "llama": LlamaConfig(**SMALL, num_key_value_heads=2),
    "gpt-neox": GPTNeoXConfig(**SMALL),
    "gpt-2": GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0),
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("trunk", TRUNKS)
def test_prompts_run_once_give_the_gradient_of_padded_rows(tmp_path: Path, trunk: str, ties: bool) -> None:
    generator = random.Random(4)
    groups = [group(number, generator, ties=[(1, 0)] if number % 2 else []) for number in range(6)]
    groups.append(group(7, generator, completions=[[5, 2], [6, 7, 8, 2], [9, 2]], pairs=[(0, 2)], finished=[True] * 3))
    groups.append(group(8, generator, completions=[[5, 2], [6, 2]], pairs=[(1, 0)], finished=[True] * 2))
    config = TRUNKS[trunk]
    config.vocab_size, config.initializer_range = 320, 0.1
    found: dict[bool, dict[str, torch.Tensor]] = {}
    for packed in (False, True):
        torch.manual_seed(0)
        model = ScalarModel(AutoModel.from_config(config, attn_implementation="sdpa")).eval()
        tie = TieParameter("davidson", -0.7) if ties else None
        order, own = EpochOrder(len(groups), len(groups), 0), settings(tmp_path, packed=packed, micro_batch_tokens=200)
        gradient = KwiseGradient(model, groups, order, own, 0, tie=tie)
        assert gradient.packed is packed
        figures = gradient()
        found[packed] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found[packed] |= {name: torch.tensor(value) for name, value in figures.items()}
    assert found[True].keys() == found[False].keys()
    assert len(found[True]) > 20
    for name, padded in found[False].items():
        assert torch.allclose(found[True][name], padded, atol=1e-5), name


def test_what_cannot_be_packed_is_padded(tmp_path: Path, tiny_policy_dir: Path) -> None:
    generator = random.Random(5)
    groups = [group(number, generator) for number in range(3)]
    model = ScalarModel.from_policy(tiny_policy_dir)
    expected = batch_gradient(model, groups, tmp_path, 300)
    model.trunk.config.sliding_window = 256  # wider than all sequences, but nobody looks at that
    gradient = KwiseGradient(model, groups, EpochOrder(3, 3, 0), settings(tmp_path), 0)
    assert not gradient.packed
    assert math.isclose(gradient()["loss"], expected, abs_tol=1e-5)


def test_prompt_with_nine_completions_weighs_no_more_than_one_with_two(tmp_path: Path, tiny_policy_dir: Path) -> None:
    torch.manual_seed(0)
    model = ScalarModel.from_policy(tiny_policy_dir)
    generator = random.Random(1)
    groups = [group(number, generator) for number in range(6)]
    alone = [batch_gradient(model, [each], tmp_path, 10_000) for each in groups]
    assert math.isclose(batch_gradient(model, groups, tmp_path, 10_000), sum(alone) / len(alone), abs_tol=1e-5)


def test_pairs_point_at_the_completions_of_their_own_group() -> None:
    generator = random.Random(2)
    groups = [group(number, generator) for number in range(5)]
    flat = [(each.id, n) for each in groups for n in range(each.K)]
    pairs, numbers, _ = judgements(groups)
    found = [(flat[a], flat[b], groups[n].id) for (a, b), n in zip(pairs.tolist(), numbers.tolist(), strict=True)]
    assert found == [((g.id, a), (g.id, b), g.id) for g in groups for a, b in g.pairs]


def naive_tie_loss(model: ScalarModel, groups: list[PreferenceGroup], parameter: float, kind: TieModel) -> torch.Tensor:
    """One judgement at a time, with the formulas as they are printed: worths, no logarithms until the end."""
    total = torch.zeros((), dtype=torch.float64)
    for each in groups:
        losses = []
        for first, second, tied in [(*p, False) for p in each.pairs] + [(*p, True) for p in each.ties]:
            ids = [torch.tensor([each.prompt_ids + each.completions[n]]) for n in (first, second)]
            p, q = (model.score(row, torch.ones_like(row))[0].double().exp() for row in ids)
            if kind == "davidson":
                root = math.exp(parameter) * (p * q).sqrt()
                chance = (root if tied else p) / (p + q + root)
            else:
                theta = math.exp(math.exp(parameter))
                both = (p + theta * q) * (q + theta * p)
                chance = (theta**2 - 1) * p * q / both if tied else p / (p + theta * q)
            losses.append(-chance.log())
        total = total + torch.stack(losses).mean()
    return total / len(groups)


@pytest.mark.parametrize("kind", TIE_MODELS)
@pytest.mark.parametrize("budget", [1, 100_000])
def test_gradient_with_ties_equals_that_of_the_printed_formulas(
    tmp_path: Path, tiny_policy_dir: Path, kind: TieModel, budget: int
) -> None:
    generator = random.Random(1)
    groups = [group(number, generator, ties=[(0, 1), (1, 0)][: number % 3]) for number in range(4)]
    groups.append(group(9, generator, pairs=[], ties=[(0, 1)]))
    torch.manual_seed(0)
    model = ScalarModel.from_policy(tiny_policy_dir).double()
    model.head.weight.data.mul_(0.1)
    expected = naive_tie_loss(model, groups, -0.7, kind)
    gradients = torch.autograd.grad(expected, [p for p in model.parameters() if p.requires_grad])
    order = EpochOrder(len(groups), len(groups), 0)
    tie = TieParameter(kind, -0.7)
    found = KwiseGradient(model, groups, order, settings(tmp_path, micro_batch_tokens=budget), 0, tie=tie)()
    assert math.isclose(found["loss"], float(expected.detach()), abs_tol=1e-6)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)
    assert tie.value != -0.7, "the parameter moves with its batch"
    # The same step whatever the passes: slope and information add up.
    whole = TieParameter(kind, -0.7)
    KwiseGradient(model, groups, EpochOrder(5, 5, 0), settings(tmp_path), 0, tie=whole)()
    assert math.isclose(tie.value, whole.value, abs_tol=1e-6)


@pytest.mark.parametrize("kind", TIE_MODELS)
def test_the_tie_parameter_finds_the_one_that_labelers_have(
    tmp_path: Path, tiny_policy_dir: Path, kind: TieModel
) -> None:
    torch.manual_seed(0)
    model = ScalarModel.from_policy(tiny_policy_dir)
    generator, truth = random.Random(3), -0.3
    groups = []
    for number in range(60):
        each = group(number, generator, pairs=[], completions=[[generator.randint(3, 300), 2] for _ in range(4)])
        ids = torch.tensor([each.prompt_ids + completion for completion in each.completions])
        with torch.no_grad():
            rewards = model.score(ids, torch.ones_like(ids))
        for a in range(4):
            for b in range(a):
                chances = [float(p.exp()) for p in outcomes(rewards[[a]] - rewards[[b]], truth, kind)]
                said = generator.choices(["first", "second", "tie"], weights=chances)[0]
                (each.ties if said == "tie" else each.pairs).append((b, a) if said == "second" else (a, b))
        groups.append(each)
    tie = TieParameter(kind, 1.5, rate=0.5)
    gradient = KwiseGradient(model, groups, EpochOrder(60, 60, 0), settings(tmp_path), 0, tie=tie)
    for _ in range(12):
        gradient()
        model.zero_grad()
    assert abs(tie.value - truth) < 0.35
    assert json.loads(json.dumps(gradient.state()))["tie"] == tie.value


def test_a_cursor_takes_up_the_tie_parameter_bit_for_bit(tmp_path: Path, tiny_policy_dir: Path) -> None:
    generator = random.Random(0)
    groups = [group(number, generator, ties=[(0, 1)]) for number in range(6)]
    model = ScalarModel.from_policy(tiny_policy_dir)

    def fresh() -> KwiseGradient:
        return KwiseGradient(
            model, groups, EpochOrder(6, 2, 0), settings(tmp_path), 0, tie=TieParameter("davidson", 0.5)
        )

    whole, first, second = fresh(), fresh(), fresh()
    for _ in range(3):
        whole()
    first()
    second.restore(json.loads(json.dumps(first.state())))
    for _ in range(2):
        second()
    assert second.state() == whole.state()
