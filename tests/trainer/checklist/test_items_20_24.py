"""Items 20 to 24: how the losses are normalised and clipped, and what the two models start as."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaModel, PreTrainedModel

from tests.trainer.checklist.tiny import PROMPTS, gradients, rollout_of
from trainer.maths.losses import value_loss
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import Experience, make_experience, score_rollout
from trainer.ppo.job import PpoJob
from trainer.ppo.step import Text, minibatch_step
from trainer.settings.ppo import PpoSettings
from trainer.settings.stages import SftSettings
from trainer.stages import sft

Settings = Callable[..., PpoSettings]
Job = Callable[[PpoSettings], PpoJob]
ROWS = torch.arange(8)
TEXT = Text(torch.randint(6, 300, (6, 12), generator=torch.Generator().manual_seed(9)), torch.arange(4, 10))


def experience_of(job: PpoJob, settings: PpoSettings) -> Experience:
    """Eight episodes of unequal length whose old log-probabilities and values are off, so that both clips act."""
    rollout = rollout_of([[20, 2], [21, 22, 23, 24, 2], [2], [25, 26, 2]] * 2)
    scored = score_rollout(
        rollout, policy=job.learner.policy, reference=job.reference, value=job.learner.value, reward=None,
        temperature=1.0, micro_batch_tokens=999,
    )  # fmt: skip
    experience, _ = make_experience(rollout, scored, torch.linspace(-2, 2, 8), settings, kl_coef=0.0)
    noise_BA = torch.randn(experience.mask_BA.shape, generator=torch.Generator().manual_seed(1))
    return replace(
        experience,
        old_logprobs_BA=torch.where(experience.mask_BA, experience.old_logprobs_BA + 0.2 * noise_BA, 0.0),
        old_values_BA=torch.where(experience.mask_BA, experience.old_values_BA - 0.2 * noise_BA, 0.0),
    )


def test_item_20_losses_are_per_token_of_the_whole_minibatch(ppo_settings: Settings, ppo_job: Job) -> None:
    """Gradients and losses of actor, critic and text do not depend on the size of a micro-batch."""
    settings = ppo_settings(max_grad_norm=0.0, lr=1e-9, value_lr=1e-9, ptx_coef=2.0)
    found: list[tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]] = []
    for micro_batch_tokens in (9999, 20, 1):
        job = ppo_job(settings)
        part = settings.model_copy(update={"micro_batch_tokens": micro_batch_tokens})
        metrics = minibatch_step(job.learner, experience_of(job, settings), ROWS, TEXT, part)
        found.append((gradients(job.learner.policy), gradients(job.learner.value), metrics))
    whole = found[0]
    for policy, value, metrics in found[1:]:
        assert all(torch.allclose(policy[name], whole[0][name], rtol=1e-3, atol=1e-4) for name in whole[0])
        assert all(torch.allclose(value[name], whole[1][name], rtol=1e-3, atol=1e-5) for name in whole[1])
        for name, figure in whole[2].items():
            assert metrics[name].item() == pytest.approx(figure.item(), rel=1e-3, abs=1e-5), name


def test_item_21_the_value_is_clipped_around_the_old_one(ppo_settings: Settings, ppo_job: Job) -> None:
    """Three tokens by hand: inside the clip, clipped on the wrong side, clipped on the right side; half the square."""
    values, old = torch.tensor([[1.1, 2.0, -1.0, 9.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    returns, mask = torch.tensor([[0.0, 3.0, -2.0, -9.0]]), torch.tensor([[True, True, True, False]])
    # |v - old| 0.1: (1.1)^2; up by 1 towards 3, held at 1.2: (1.8)^2 > 1; down by 2 towards -2, held at 0.8: (2.8)^2.
    loss, clipfrac = value_loss(values, old, returns, mask, clip=0.2)
    assert float(loss) == pytest.approx(0.5 * (1.1**2 + 1.8**2 + 2.8**2) / 3)
    assert float(clipfrac) == pytest.approx(2 / 3)
    away, _ = value_loss(torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([[0.0]]), mask[:, :1], clip=0.2)
    assert float(away) == pytest.approx(0.5 * 2.0**2)
    # No coefficient: with an optimizer of its own the value model's gradient is that of the loss itself.
    settings = ppo_settings(max_grad_norm=0.0, lr=1e-9, value_lr=1e-9)
    job = ppo_job(settings)
    experience = experience_of(job, settings)
    metrics = minibatch_step(job.learner, experience, ROWS, None, settings)
    rest = job.learner.value(experience.input_ids_BT, torch.ones_like(experience.input_ids_BT))
    row_N, action_N = experience.mask_BA.nonzero(as_tuple=True)
    new_N = rest[row_N, experience.prompt_tokens_B[row_N] - 1 + action_N]
    old_N, returns_N = experience.old_values_BA[experience.mask_BA], experience.returns_BA[experience.mask_BA]
    near_N = torch.minimum(torch.maximum(new_N, old_N - settings.value_clip), old_N + settings.value_clip)
    truth = 0.5 * torch.maximum((new_N - returns_N) ** 2, (near_N - returns_N) ** 2).mean()
    assert metrics["ppo/loss/value_avg"].item() == pytest.approx(truth.item(), rel=1e-4)
    taken = gradients(job.learner.value)["head.weight"]
    job.learner.value.zero_grad()
    truth.backward()
    assert torch.allclose(taken, gradients(job.learner.value)["head.weight"], rtol=1e-3, atol=1e-6)


def test_item_22_values_begin_as_the_reward_models_scores(ppo_settings: Settings, ppo_job: Job) -> None:
    """The value of every prefix is the reward model's score of it; a fresh head has deviation 1/sqrt(h+1), no bias."""
    settings = ppo_settings()
    job = ppo_job(settings)
    reward = ScalarModel.load(settings.reward or "")
    for prompt in PROMPTS:
        states = [prompt[: end + 1] for end in range(len(prompt))]
        with torch.no_grad():
            values = job.learner.value(torch.tensor([prompt]), torch.ones(1, len(prompt)))[0].tolist()
            scores = [float(reward.score(torch.tensor([s]), torch.ones(1, len(s)))) for s in states]
        assert values == pytest.approx(scores, abs=1e-5)
    for width in (4, 2048):
        heads: list[Tensor] = []
        trunk = LlamaModel(LlamaConfig(vocab_size=8, hidden_size=width, num_hidden_layers=0, num_attention_heads=2))
        for seed in range(1 if width == 2048 else 600):
            torch.manual_seed(seed)
            head = ScalarModel(trunk).head
            assert not head.bias.any()
            heads.append(head.weight.detach().flatten())
        assert float(torch.cat(heads).std()) == pytest.approx(1 / math.sqrt(width + 1), rel=0.05)


def test_item_23_policy_and_value_share_nothing(ppo_settings: Settings, ppo_job: Job) -> None:
    """The value loss leaves the policy's gradients at None; no storage is shared by policy, value and reward."""
    settings = ppo_settings()
    job = ppo_job(settings)
    learner, reward = job.learner, job.reward
    assert reward is not None
    storages = [{p.data_ptr() for p in m.parameters()} for m in (learner.policy, learner.value, reward, job.reference)]
    assert sum(map(len, storages)) == len(set.union(*storages))
    ids_BT = torch.tensor([PROMPTS[0]])
    learner.value(ids_BT, torch.ones_like(ids_BT)).square().mean().backward()
    assert all(p.grad is None for p in learner.policy.parameters())
    assert any(p.grad is not None and p.grad.any() for p in learner.value.trunk.parameters())


def test_item_24_dropout_only_in_sft(
    ppo_settings: Settings, ppo_job: Job, tiny_policy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PPO's four models repeat themselves bit for bit, in and after a step, even where the file asks for dropout."""
    for name in ("policy", "reward"):
        shutil.copytree(getattr(ppo_settings(), name), tmp_path / name)
        config = json.loads((tmp_path / name / "config.json").read_text())
        (tmp_path / name / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.5}))
        (tmp_path / name / "manifest.json").unlink(missing_ok=True)
    settings = ppo_settings(policy=tmp_path / "policy", reward=tmp_path / "reward")
    job = ppo_job(settings)
    minibatch_step(job.learner, experience_of(job, settings), ROWS, TEXT, settings)
    ids_BT = torch.tensor([PROMPTS[0]])

    def out(model: torch.nn.Module) -> Tensor:
        found = model(ids_BT, torch.ones_like(ids_BT))
        return found if isinstance(found, Tensor) else found.logits

    with torch.no_grad():
        for model in (job.learner.policy, job.reference, job.learner.value, job.reward):
            assert model is not None
            assert torch.equal(out(model), out(model))
            assert torch.equal(out(model), out(model.train()))
    trained: list[PreTrainedModel] = []

    def keep(_run: object, _settings: object, model: PreTrainedModel, *_: object, **__: object) -> None:
        model.train()
        trained.append(model)
        with torch.no_grad():
            assert not torch.equal(out(model), out(model))
            assert torch.equal(out(model.eval()), out(model))

    monkeypatch.setattr(sft, "optimize", keep)
    (tmp_path / "d.jsonl").write_text(
        "".join(json.dumps({"prompt": str(n), "response": "red"}) + "\n" for n in range(4))
    )
    sft.run(
        SftSettings(
            output=tmp_path / "sft", policy=tiny_policy_dir, demonstrations=[tmp_path / "d.jsonl"], dropout=0.2,
            valid_fraction=0.0, max_prompt_tokens=64, max_completion_tokens=16, threads=1, device="cpu",
        )
    )  # fmt: skip
    assert len(trained) == 1
    seen: list[Tensor] = []
    trained[0].train().model.layers[0].mlp.down_proj.register_forward_hook(lambda _m, _i, output: seen.append(output))
    trained[0](torch.randint(6, 300, (8, 64)))
    assert float((seen[0] == 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert SftSettings.model_fields["dropout"].default == 0.2
