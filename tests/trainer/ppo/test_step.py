"""One optimizer step: how gradients add up, are clipped, and which parameters they reach."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from feedback.errors import Diverged
from trainer.maths.losses import policy_loss
from trainer.models.actions import action_positions, logprobs_at, text_positions, to_actions
from trainer.models.policies import load_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import Experience
from trainer.ppo.step import Learner, Text, accumulate_ptx, minibatch_step, shuffled_minibatches, warmed_up
from trainer.settings.ppo import PpoSettings

ROWS = 8
PROMPTS = torch.tensor([3, 1, 5, 2, 4, 4, 2, 6])
ACTIONS = torch.tensor([2, 4, 1, 6, 3, 5, 2, 1])
LENGTHS = torch.arange(5, 17)
TEXT = Text(torch.randint(6, 300, (12, 16), generator=torch.Generator().manual_seed(9)), LENGTHS)


def settings(**changes: object) -> PpoSettings:
    given = {
        "output": "o", "policy": "p", "prompts": ["q"], "batch_size": ROWS, "episodes": ROWS, "minibatches": 2,
        "max_grad_norm": 0.0, "pretraining": ["t"],
    }  # fmt: skip
    return PpoSettings.model_validate(given | changes)


def learner(policy_dir: Path, reward_dir: Path, *, lr: float = 0.0) -> Learner:
    policy, value = load_policy(policy_dir), ScalarModel.load(reward_dir)
    return Learner(
        policy=policy,
        value=value,
        policy_optimizer=torch.optim.AdamW(policy.parameters(), lr=lr, weight_decay=0.0),
        value_optimizer=torch.optim.AdamW(value.parameters(), lr=lr, weight_decay=0.0),
    )


def experience(off: float = 0.3) -> Experience:
    generator = torch.Generator().manual_seed(4)
    lengths = PROMPTS + ACTIONS
    ids = torch.randint(6, 300, (ROWS, int(lengths.max())), generator=generator)
    mask = torch.arange(int(ACTIONS.max())) < ACTIONS[:, None]
    noise = [torch.where(mask, torch.randn(mask.shape, generator=generator), 0.0) for _ in range(4)]
    return Experience(
        input_ids_BT=torch.where(torch.arange(ids.shape[1]) < lengths[:, None], ids, 0),
        prompt_tokens_B=PROMPTS,
        lengths_B=lengths,
        mask_BA=mask,
        old_logprobs_BA=torch.where(mask, -5.0 + off * noise[0], 0.0),
        old_values_BA=noise[1],
        advantages_BA=noise[2],
        returns_BA=noise[3],
    )


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def close(first: dict[str, Tensor], second: dict[str, Tensor], tolerance: float = 1e-5) -> bool:
    return first.keys() == second.keys() and all(
        torch.allclose(first[k], second[k], rtol=1e-4, atol=tolerance) for k in first
    )


def test_under_autocast_a_step_computes_on_the_weights_that_the_last_one_left(
    tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    """Autocast keeps the bfloat16 copies of weights while it lasts, whatever becomes of the weights."""
    rows, figures = torch.arange(ROWS), {}
    for lasting in (True, False):
        both = learner(tiny_policy_dir, tiny_reward_dir, lr=1e-2)
        with torch.autocast("cpu", torch.bfloat16) if lasting else nullcontext():
            for step in range(2):
                with torch.autocast("cpu", torch.bfloat16):
                    figures[lasting, step] = minibatch_step(both, experience(), rows, None, settings())
    for name in ("ppo/loss/policy_avg", "ppo/loss/value_avg", "val/ratio"):
        assert figures[True, 0][name] == figures[False, 0][name]
        assert figures[True, 1][name] == figures[False, 1][name], f"{name} is of weights that are no more"
        assert figures[True, 1][name] != figures[True, 0][name]


def test_mixed_gradient_is_ppo_plus_coefficient_times_language_model(
    tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    rows = torch.arange(ROWS)
    alone = learner(tiny_policy_dir, tiny_reward_dir)
    minibatch_step(alone, experience(), rows, None, settings())
    text_only = load_policy(tiny_policy_dir)
    (-logprobs_at(text_only, TEXT.ids_ST, text_positions(*TEXT), temperature=1.0).mean()).backward()
    mixed = learner(tiny_policy_dir, tiny_reward_dir)
    metrics = minibatch_step(mixed, experience(), rows, TEXT, settings(ptx_coef=27.8))
    ppo, text = gradients(alone.policy), gradients(text_only)
    assert close(gradients(mixed.policy), {k: ppo[k] + 27.8 * text[k] for k in ppo}, 1e-4)
    norm = torch.stack([g.square().sum() for g in ppo.values()]).sum().sqrt().item()
    assert metrics["ppo/grad_norm/ppo"].item() == pytest.approx(norm, rel=1e-4)
    text_norm = 27.8 * torch.stack([g.square().sum() for g in text.values()]).sum().sqrt().item()
    assert metrics["ppo/grad_norm/ptx"].item() == pytest.approx(text_norm, rel=1e-4)


@pytest.mark.parametrize("micro_batch_tokens", [8192, 30])
def test_packed_gradients_and_metrics_equal_padded_ones(
    tiny_policy_dir: Path, tiny_reward_dir: Path, micro_batch_tokens: int
) -> None:
    told = {"ptx_coef": 1.0, "micro_batch_tokens": micro_batch_tokens}
    padded, packed = (learner(tiny_policy_dir, tiny_reward_dir) for _ in range(2))
    one = minibatch_step(padded, experience(), torch.arange(ROWS), TEXT, settings(packed=False, **told))
    other = minibatch_step(packed, experience(), torch.arange(ROWS), TEXT, settings(packed=True, **told))
    for model, same in ((padded.policy, packed.policy), (padded.value, packed.value)):
        first, second = gradients(model), gradients(same)
        assert first.keys() == second.keys()
        largest = max(float(gradient.abs().max()) for gradient in first.values())
        for name, gradient in first.items():
            assert float((gradient - second[name]).abs().max()) <= 1e-5 * max(largest, 1.0), name
    for name, value in one.items():
        assert other[name].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("micro_batch_tokens", [1, 20, 37])
def test_gradients_of_actor_critic_and_text_do_not_depend_on_the_micro_batch(
    tiny_policy_dir: Path, tiny_reward_dir: Path, micro_batch_tokens: int
) -> None:
    rows = torch.tensor([5, 0, 3, 1])
    whole, parts = (learner(tiny_policy_dir, tiny_reward_dir) for _ in range(2))
    one = minibatch_step(whole, experience(), rows, TEXT, settings())
    many = minibatch_step(parts, experience(), rows, TEXT, settings(micro_batch_tokens=micro_batch_tokens))
    assert close(gradients(whole.policy), gradients(parts.policy), 2e-4)
    assert close(gradients(whole.value), gradients(parts.value))
    for name, value in one.items():
        assert many[name].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-5), name


def test_the_value_loss_reaches_no_policy_parameter(tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    pair = learner(tiny_policy_dir, tiny_reward_dir)
    shared = {p.data_ptr() for p in pair.policy.parameters()} & {p.data_ptr() for p in pair.value.parameters()}
    assert not shared
    base = experience()
    idle = Experience(**{k: getattr(base, k) for k in Experience.__slots__} | {"advantages_BA": base.advantages_BA * 0})
    minibatch_step(pair, idle, torch.arange(ROWS), None, settings())
    assert all((g == 0).all() for g in gradients(pair.policy).values())
    assert any((g != 0).any() for g in gradients(pair.value).values())


def test_clipping_acts_after_the_gradients_were_added_and_before_the_step(
    tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    spike = learner(tiny_policy_dir, tiny_reward_dir)
    metrics = minibatch_step(spike, experience(), torch.arange(ROWS), TEXT, settings(ptx_coef=1e4, max_grad_norm=1.0))
    assert metrics["ppo/grad_norm/policy"] > 100
    for model in (spike.policy, spike.value):
        norm = torch.stack([g.square().sum() for g in gradients(model).values()]).sum().sqrt().item()
        assert norm <= 1.0 + 1e-4


def test_a_gradient_that_is_no_number_stops_before_any_weight_changes(
    tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    pair = learner(tiny_policy_dir, tiny_reward_dir, lr=0.1)
    before = {k: v.clone() for k, v in pair.policy.state_dict().items()}
    broken = experience()
    broken.advantages_BA[0, 0] = float("nan")
    with pytest.raises(Diverged, match="no weight was changed"):
        minibatch_step(pair, broken, torch.arange(ROWS), None, settings())
    assert all(torch.equal(v, before[k]) for k, v in pair.policy.state_dict().items())


def test_at_the_old_policy_the_ratio_is_one_and_the_loss_the_mean_advantage(
    tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    pair, base = learner(tiny_policy_dir, tiny_reward_dir), experience()
    with torch.no_grad():
        positions = action_positions(base.input_ids_BT, PROMPTS, base.mask_BA)
        old = to_actions(logprobs_at(pair.policy, base.input_ids_BT, positions, temperature=0.7), base.mask_BA)
    current = Experience(**{k: getattr(base, k) for k in Experience.__slots__} | {"old_logprobs_BA": old})
    metrics = minibatch_step(pair, current, torch.arange(ROWS), None, settings(temperature=0.7))
    assert metrics["val/max_log_ratio"] < 1e-5
    assert metrics["val/ratio"].item() == pytest.approx(1.0, abs=1e-5)
    expected = policy_loss(old, old, base.advantages_BA, base.mask_BA, clip=0.2).loss
    assert metrics["ppo/loss/policy_avg"].item() == pytest.approx(expected.item(), abs=1e-5)
    assert metrics["ppo/policy/clipfrac_avg"] == 0


def test_ptx_loss_is_nats_per_predicted_token(tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    loss = accumulate_ptx(policy, TEXT, coef=1.0, micro_batch_tokens=40)
    labels = torch.where(torch.arange(16) < LENGTHS[:, None], TEXT.ids_ST, -100)
    expected = policy(input_ids=TEXT.ids_ST, labels=labels).loss
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_dropout_is_off_in_every_model_that_ppo_trains(tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    pair = learner(tiny_policy_dir, tiny_reward_dir)
    minibatch_step(pair, experience(), torch.arange(ROWS), TEXT, settings())
    assert not pair.policy.training
    assert not pair.value.training
    ids, every = experience().input_ids_BT, torch.ones(ROWS, experience().input_ids_BT.shape[1])
    assert torch.equal(pair.policy(ids).logits, pair.policy(ids).logits)
    assert torch.equal(pair.value(ids, every), pair.value(ids, every))


def test_every_episode_is_used_exactly_once_an_epoch_in_a_new_order() -> None:
    first = [rows.tolist() for rows in shuffled_minibatches(64, 8, seed=1)]
    assert [len(rows) for rows in first] == [8] * 8
    assert sorted(row for rows in first for row in rows) == list(range(64))
    assert first == [rows.tolist() for rows in shuffled_minibatches(64, 8, seed=1)]
    assert first != [rows.tolist() for rows in shuffled_minibatches(64, 8, seed=2)]


def test_warm_up_runs_from_a_tenth_over_ten_iterations_and_then_stays() -> None:
    rates = [warmed_up(1.0, iteration, 10) for iteration in range(13)]
    assert rates == pytest.approx([0.1, 0.19, 0.28, 0.37, 0.46, 0.55, 0.64, 0.73, 0.82, 0.91, 1.0, 1.0, 1.0])
    assert warmed_up(2.0, 0, 0) == 2.0
