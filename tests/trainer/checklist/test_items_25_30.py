"""Items 25 to 30: Adam, clipping, warm-up, the pretraining term and the average."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.trainer.checklist.test_items_20_24 import ROWS, TEXT, experience_of
from tests.trainer.checklist.tiny import gradients, norm, weights
from trainer.models.actions import logprobs_at, text_positions
from trainer.models.ema import ParameterAverage
from trainer.ppo.job import PpoJob
from trainer.ppo.ppo import iterate
from trainer.ppo.step import minibatch_step, warmed_up
from trainer.running.optimization import adamw, guarded_step
from trainer.running.run import open_run
from trainer.settings.ppo import PpoSettings

Settings = Callable[..., PpoSettings]
Job = Callable[[PpoSettings], PpoJob]


def test_item_25_adam_as_published(ppo_settings: Settings) -> None:
    """Five steps equal Adam in NumPy: betas 0.9 and 0.95, epsilon 1e-5 added outside the root, after correction."""
    defaults = PpoSettings.model_fields
    assert [defaults[name].default for name in ("beta1", "beta2", "adam_eps", "weight_decay")] == [0.9, 0.95, 1e-5, 0.0]
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False)
    optimizer = adamw(model, ppo_settings(), 0.1)
    weight = model.weight.detach().double().numpy().copy()
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step in range(1, 6):
        gradient = 1e-5 * np.random.default_rng(step).standard_normal(weight.shape)  # small: epsilon matters
        model.weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        first, second = 0.9 * first + 0.1 * gradient, 0.95 * second + 0.05 * gradient**2
        weight -= 0.1 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.95**step)) + 1e-5)
        assert np.allclose(model.weight.detach().numpy(), weight, rtol=1e-4, atol=1e-6)


def test_item_26_clipping_acts_before_the_step(ppo_settings: Settings, ppo_job: Job) -> None:
    """With a loss ten thousand times as large, every optimizer steps on a gradient no longer than the limit."""
    settings = ppo_settings(max_grad_norm=0.5, ptx_coef=1e4)
    job = ppo_job(settings)
    experience = experience_of(job, settings)
    experience.advantages_BA.mul_(1e4)
    experience.returns_BA.mul_(1e4)
    seen: dict[str, float] = {}
    models: dict[str, nn.Module] = {"policy": job.learner.policy, "value": job.learner.value}
    for name, optimizer in (("policy", job.learner.policy_optimizer), ("value", job.learner.value_optimizer)):
        optimizer.register_step_pre_hook(
            lambda *_, name=name: seen.update({name: norm(gradients(models[name]))})  # type: ignore[misc]
        )
    metrics = minibatch_step(job.learner, experience, ROWS, TEXT, settings)
    assert metrics["ppo/grad_norm/policy"] > 100
    assert metrics["ppo/grad_norm/value"] > 100
    assert seen == {"policy": pytest.approx(0.5, rel=1e-3), "value": pytest.approx(0.5, rel=1e-3)}
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = weights(model)
    (1e4 * model(torch.ones(2, 4)).square().sum()).backward()
    size = norm(gradients(model))
    assert guarded_step(optimizer, model.parameters(), 0.5, loss=1.0, stage="s", step=1) == pytest.approx(size)
    moved = {name: p.detach() - before[name] for name, p in model.named_parameters()}
    assert norm(moved) == pytest.approx(0.5, rel=1e-3)


def test_item_27_warm_up_from_a_tenth_over_ten_iterations(ppo_settings: Settings, ppo_job: Job) -> None:
    """A table against the formula; the policy's optimizer really has that rate, the value model's is constant."""
    assert PpoSettings.model_fields["warmup_iterations"].default == 10
    table = [0.1, 0.19, 0.28, 0.37, 0.46, 0.55, 0.64, 0.73, 0.82, 0.91, 1.0, 1.0, 1.0]
    assert [warmed_up(1.0, iteration, 10) for iteration in range(13)] == pytest.approx(table)
    settings = ppo_settings(warmup_iterations=2, lr=1e-4, value_lr=1e-3, ptx_coef=0.0)
    job = ppo_job(settings)
    used: list[float] = []
    job.learner.policy_optimizer.register_step_pre_hook(
        lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"])
    )
    for _ in range(3):
        iterate(job, settings)
        assert {group["lr"] for group in job.learner.value_optimizer.param_groups} == {1e-3}
    assert used == pytest.approx([1e-5] * 4 + [5.5e-5] * 4 + [1e-4] * 4)


def test_item_28_pretraining_gradients_join_ppos_in_one_step(ppo_settings: Settings, ppo_job: Job) -> None:
    """grad(mixed) = grad(PPO) + 27.8 grad(LM); one step a minibatch; eight examples an episode over a run."""
    defaults = PpoSettings.model_fields
    assert (defaults["ptx_coef"].default, defaults["ptx_per_episode"].default) == (27.8, 8.0)
    settings = ppo_settings(max_grad_norm=0.0, lr=1e-9, value_lr=1e-9, ptx_coef=27.8)
    job = ppo_job(settings)
    experience = experience_of(job, settings)
    minibatch_step(job.learner, experience, ROWS, None, settings)
    ppo = gradients(job.learner.policy)
    job.learner.policy.zero_grad()
    logprobs_N = logprobs_at(job.learner.policy, TEXT.ids_ST, text_positions(*TEXT), temperature=1.0)
    (-logprobs_N.mean()).backward()
    text = gradients(job.learner.policy)
    metrics = minibatch_step(job.learner, experience, ROWS, TEXT, settings)
    mixed = gradients(job.learner.policy)
    for name in mixed:
        assert torch.allclose(mixed[name], ppo[name] + 27.8 * text[name], rtol=1e-4, atol=1e-4), name
    assert metrics["ppo/grad_norm/ppo"].item() == pytest.approx(norm(ppo), rel=1e-3)
    assert metrics["ppo/grad_norm/ptx"].item() == pytest.approx(27.8 * norm(text), rel=1e-3)
    assert metrics["ppo/ptx/loss"].item() == pytest.approx(-logprobs_N.mean().item(), rel=1e-4)
    settings = ppo_settings(ptx_per_episode=8.0)
    job = ppo_job(settings)
    iterate(job, settings)
    iterate(job, settings)
    assert job.text is not None
    assert job.text.cursor == 8 * 2 * settings.batch_size
    assert {int(state["step"]) for state in job.learner.policy_optimizer.state.values()} == {2 * settings.minibatches}


def test_item_29_pretraining_text_in_a_fixed_resumable_order(ppo_settings: Settings, ppo_job: Job) -> None:
    """The same blocks in the same order for a seed, each once an epoch; a restart goes on with the next ones."""
    settings = ppo_settings()

    def blocks(job: PpoJob, steps: int) -> list[list[int]]:
        found = [job.next_text(settings) for _ in range(steps)]
        return [row for text in found if text is not None for row in text.ids_ST.tolist()]

    with open_run("ppo", settings) as run:
        whole = ppo_job(settings)
        assert whole.text is not None
        order = blocks(whole, 12)
        assert order != [row.tolist() for row in whole.text.blocks_NT[: len(order)]]
        epoch = whole.text.take_ids(2 * len(whole.text) - len(order))[-len(whole.text) :]
        assert sorted(epoch) == list(range(len(whole.text)))
        documents = whole.tokenizer.decode(whole.text.blocks_NT.flatten().tolist())
        assert "The red fox lives in the green wood and eats berries." in documents
        killed = ppo_job(settings)
        iterate(killed, settings)
        assert killed.text is not None
        assert killed.text.cursor == settings.minibatches * settings.ptx_per_minibatch
        killed.save(run)
        restarted = ppo_job(settings)
        assert restarted.resume(run)
        assert blocks(restarted, 8) == order[killed.text.cursor :]


def test_item_30_the_average_is_exact_and_published(ppo_settings: Settings, ppo_job: Job, tmp_path: Path) -> None:
    """Float32, once an iteration, outside the optimizer, in the checkpoint, and what export writes."""
    half = nn.Linear(2, 1, bias=False).bfloat16()
    average = ParameterAverage(half, 0.75)
    start = half.weight.detach().float().clone()
    with torch.no_grad():
        half.weight.add_(1.0)
    moved = half.weight.detach().float()
    average.update(half)
    assert average.state_dict()["weight"].dtype == torch.float32
    assert torch.allclose(average.state_dict()["weight"], 0.75 * start + 0.25 * moved, atol=1e-7)

    settings = ppo_settings(ema_decay=0.9, minibatches=4)
    assert PpoSettings.model_fields["ema_decay"].default == 0.992
    job = ppo_job(settings)
    path: list[dict[str, Tensor]] = [weights(job.learner.policy)]
    for _ in range(3):
        iterate(job, settings)
        path.append(weights(job.learner.policy))
    name = "model.layers.0.mlp.up_proj.weight"
    closed = 0.9**3 * path[0][name] + sum(0.1 * 0.9 ** (3 - n) * path[n][name] for n in (1, 2, 3))
    kept = job.average.state_dict()[name]
    assert torch.allclose(kept, closed, atol=1e-6)
    assert (kept - path[3][name]).abs().max() > 1e-4
    optimized = {p.data_ptr() for group in job.learner.policy_optimizer.param_groups for p in group["params"]}
    assert not optimized & {tensor.data_ptr() for tensor in job.average.state_dict().values()}
    with open_run("ppo", settings) as run:
        job.save(run)
        resumed = ppo_job(settings)
        assert resumed.resume(run)
    assert torch.equal(resumed.average.state_dict()[name], kept)
    job.export(tmp_path / "published")
    assert torch.equal(load_file(tmp_path / "published" / "model.safetensors")[name], kept)
