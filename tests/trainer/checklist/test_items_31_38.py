"""Items 31 to 38: KL estimators and their coefficient, and what a reward model may be trained on and with."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.errors import ConfigError, DataError
from tests.trainer.checklist.tiny import BOS, EOS, PAD, gradients, rollout_of
from trainer.data.batches import EpochOrder
from trainer.data.partition import partition
from trainer.data.reading import Counts, Limits, PreferenceGroup, read_demonstrations, read_preferences
from trainer.maths.advantages import token_rewards
from trainer.maths.kl_control import next_kl_coef
from trainer.maths.logprobs import kl_k1, kl_k2, kl_k3
from trainer.maths.losses import kwise_loss, kwise_loss_batch
from trainer.models.normalisation import centre, score_sequences
from trainer.models.policies import load_policy, load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import make_experience, score_rollout
from trainer.ppo.job import PpoJob
from trainer.ppo.ppo import iterate
from trainer.settings.ppo import PpoSettings
from trainer.settings.stages import RewardSettings
from trainer.stages import reward
from trainer.stages.kwise import KwiseGradient
from trainer.stages.score import judge

Settings = Callable[..., PpoSettings]
Job = Callable[[PpoSettings], PpoJob]
ANSWERS = ["red", "green and blue", "the fox", "in the wood by night"]


def group(number: int, pairs: list[tuple[int, int]], K: int = 4, **changes: Any) -> PreferenceGroup:
    completions = [[20 + number, 30 + k, *range(40, 40 + k), EOS] for k in range(K)]
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": f"q{number}"}], "prompt_ids": [BOS, 10 + number]}
    return PreferenceGroup(
        id=f"g{number}", completions=completions, finished=[True] * K, pairs=pairs, **(fields | changes)
    )


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def reward_settings(tmp_path: Path, **changes: Any) -> RewardSettings:
    ranked = [{"text": text, "rank": rank} for rank, text in enumerate(ANSWERS[:3])]
    preferences = [{"id": f"p{n}", "prompt": f"Question {n}?", "responses": ranked, "split": "train"} for n in range(6)]
    demonstrations = [{"id": f"d{n}", "prompt": f"Question {n}?", "response": ANSWERS[n]} for n in range(4)]
    given = {
        "output": tmp_path / "rm", "preferences": [write_rows(tmp_path / "p.jsonl", preferences)], "device": "cpu",
        "demonstrations": [write_rows(tmp_path / "d.jsonl", demonstrations)], "batch_size": 3, "lr": 1e-3, "threads": 1,
        "max_prompt_tokens": 64, "max_completion_tokens": 24,
    }  # fmt: skip
    return RewardSettings.model_validate(given | changes)


def test_item_31_k1_is_in_the_reward(ppo_settings: Settings, tiny_policy_dir: Path) -> None:
    """A bandit of known KL: k1 in the reward is signed and unbiased, nothing is clamped, a negative mean is flagged."""
    p, q = torch.tensor([0.7, 0.3]), torch.tensor([0.4, 0.6])
    truth = float((p * (p / q).log()).sum())
    arms = (torch.rand(20_000, generator=torch.Generator().manual_seed(2)) > 0.7).long()
    new_BA, ref_BA = p.log()[arms][:, None], q.log()[arms][:, None]
    k1 = -token_rewards(new_BA, ref_BA, torch.zeros(20_000), torch.ones(20_000, 1), kl_coef=1.0).flatten()
    assert abs(float(k1.mean()) - truth) < 3 * float(k1.std()) / 20_000**0.5
    assert float(k1.min()) < 0 < float(k1.max())
    assert torch.equal(k1, kl_k1(new_BA, ref_BA).flatten())
    k2, k3 = kl_k2(new_BA, ref_BA), kl_k3(new_BA, ref_BA)
    assert float(k2.min()) >= 0
    assert float(k3.min()) >= 0
    assert abs(float(k3.mean()) - truth) < 3 * float(k3.std()) / 20_000**0.5
    assert abs(float(k2.mean()) - truth) > 3 * float(k2.std()) / 20_000**0.5
    far = token_rewards(torch.tensor([[-60.0]]), torch.tensor([[-1.0]]), torch.zeros(1), torch.ones(1, 1), kl_coef=1.0)
    assert float(far) == 59.0
    rollout, policy = rollout_of([[20, 21, EOS], [22, EOS]]), load_policy(tiny_policy_dir)
    scored = score_rollout(
        rollout, policy=policy, reference=policy, value=None, reward=None, temperature=1.0, micro_batch_tokens=999
    )
    for shift, flag in ((0.5, 1.0), (-0.5, 0.0)):
        scored.ref_logprobs_BA.copy_(torch.where(rollout.action_mask_BA, scored.logprobs_BA + shift, 0.0))
        _, metrics = make_experience(rollout, scored, torch.zeros(2), ppo_settings(), kl_coef=0.0)
        assert metrics["objective/kl"] == pytest.approx(-2.5 * shift, abs=1e-5)
        assert metrics["objective/kl_negative"] == flag


def test_item_32_the_coefficient_follows_the_2019_rule(ppo_settings: Settings, ppo_job: Job) -> None:
    """Step response against the formula: proportional, error clipped at 0.2, horizon in episodes; fixed by default."""
    table = [(3.0, 0.0, 0.98), (3.0, 2.9, 1 - 0.1 * 0.1 / 3), (3.0, 3.0, 1.0), (3.0, 3.3, 1.01), (3.0, 90.0, 1.02)]
    for target, measured, factor in table:
        found = next_kl_coef(0.05, measured, target_nats=target, horizon=5120, episodes=512)
        assert found == pytest.approx(0.05 * factor, rel=1e-6)
    coefficient = 0.1
    for _ in range(50):
        coefficient = next_kl_coef(coefficient, 12.0, target_nats=6.0, horizon=10_000, episodes=64)
    assert coefficient == pytest.approx(0.1 * (1 + 0.2 * 64 / 10_000) ** 50)
    settings = ppo_settings(kl_target_nats=1e-6, kl_horizon=80)
    job = ppo_job(settings)
    iterate(job, settings)
    assert job.kl_coef == pytest.approx(0.02 * (1 - 0.2 * 8 / 80))
    assert PpoSettings.model_fields["kl_target_nats"].default == 0.0
    fixed = ppo_settings()
    job = ppo_job(fixed)
    iterate(job, fixed)
    assert job.kl_coef == fixed.kl_coef


def test_item_33_demonstrations_score_zero(tmp_path: Path, tiny_policy_dir: Path) -> None:
    """The mean over demonstrations is below 1e-4 in the stored model, and again in the one trained from it."""
    first = reward_settings(tmp_path, policy=tiny_policy_dir)
    reward.run(first)
    again = reward_settings(tmp_path, init_reward=first.output, output=tmp_path / "rm2", lr=1e-2)
    reward.run(again)
    tokenizer = load_tokenizer(tiny_policy_dir)
    found = read_demonstrations(first.demonstrations, tokenizer, Limits())
    sequences = [each.prompt_ids + each.completion_ids for each in found]
    biases = []
    for settings in (first, again):
        model = ScalarModel.load(settings.output)
        scores = score_sequences(model, sequences, PAD)
        assert abs(sum(scores) / len(scores)) < 1e-4
        assert max(scores) - min(scores) > 1e-3
        biases.append(float(model.bias))
    assert abs(biases[0] - biases[1]) > 1e-4
    assert centre(model, sequences, PAD) == pytest.approx(0.0, abs=1e-4)


def test_item_34_scores_are_read_at_eos_and_cut_ones_are_marked(
    tmp_path: Path, tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    """Scores stand at EOS; a completion that was cut is marked, counted, and no zero point."""
    tokenizer, model = load_tokenizer(tiny_policy_dir), ScalarModel.load(tiny_reward_dir)
    responses = [{"text": "red", "rank": 0}, {"text": "the fox lives in the green wood " * 3, "rank": 1}]
    path = write_rows(tmp_path / "p.jsonl", [{"id": "a", "prompt": "q", "responses": responses}])
    counts = Counts()
    (found,) = read_preferences([path], tokenizer, Limits(completion_tokens=8), counts)
    assert found.finished == [True, False]
    assert [completion[-1] == EOS for completion in found.completions] == [True, False]
    assert (len(found.completions[1]), counts.cut_completions) == (8, 1)
    (judged,) = judge(model, [found], PAD, 999)
    assert list(judged.finished) == [True, False]
    whole = found.prompt_ids + found.completions[0]
    with torch.no_grad():
        scalars_T = model(torch.tensor([whole]), torch.ones(1, len(whole)))[0]
    at_eos = pytest.approx(float(scalars_T[whole.index(EOS)]), abs=1e-5)
    assert judged.rewards[0] == at_eos
    assert score_sequences(model, [whole], PAD)[0] == at_eos, "padded as well as packed"
    rows = [{"id": "s", "prompt": "q", "response": "red"}, {"id": "l", "prompt": "q", "response": "the owl " * 40}]
    settings = reward_settings(
        tmp_path, policy=tiny_policy_dir, demonstrations=[write_rows(tmp_path / "cut.jsonl", rows)], max_steps=1
    )
    metrics = reward.run(settings)
    assert metrics["zero_point"] == "demonstrations"
    short = read_demonstrations([tmp_path / "cut.jsonl"], tokenizer, Limits(completion_tokens=24))[0]
    trained = ScalarModel.load(settings.output)
    assert score_sequences(trained, [short.prompt_ids + short.completion_ids], PAD)[0] == pytest.approx(0.0, abs=1e-4)


def test_item_35_one_epoch_no_leaks_by_prompt_or_labeler() -> None:
    """Every group once by default; no prompt on both sides; held-out labelers and customers are never trained on."""
    assert RewardSettings.model_fields["epochs"].default == 1
    order = EpochOrder(7, 3, seed=0)
    assert sorted(itertools.chain.from_iterable(order.next() for _ in range(order.batches_per_epoch))) == list(range(7))
    groups = [group(n % 20, [(0, 1)], split="train" if n % 3 else "valid") for n in range(40)]
    groups += [group(n, [(1, 0)], labeler_group="held-out", split="train") for n in range(15, 30)]
    groups += [group(100 + n, [(1, 0)], customer=f"c{n % 9}") for n in range(60)]
    parts = partition(groups, 0.3)
    sides = [{tuple(each.prompt_ids) for each in side} for side in (parts.train, parts.valid)]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert not any(each.labeler_group == "held-out" for each in parts.train)
    assert any(each.labeler_group == "held-out" for each in parts.valid)
    customers = [{each.customer for each in side if each.customer} for side in (parts.train, parts.valid)]
    assert customers[0]
    assert customers[1]
    assert not customers[0] & customers[1]
    assert parts.leaked == len(groups) - len(parts.train) - len(parts.valid)
    with pytest.raises(DataError, match="every one is held out"):
        partition([group(1, [(0, 1)], labeler_group="held-out")], 0.0)


def test_item_36_every_prompt_weighs_the_same(tmp_path: Path, tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    """The K-wise gradient is that of the naive pairwise mean per prompt; a tie changes the divisor and nothing else."""
    all_pairs = [list(itertools.combinations(range(K), 2)) for K in (9, 4, 2)]
    kept = [pair for pair in all_pairs[1] if pair != (0, 3)]  # one tie
    groups = [group(1, all_pairs[0], 9), group(2, kept, 4), group(3, all_pairs[2], 2)]
    generator = torch.Generator().manual_seed(5)
    rewards_N = torch.randn(15, generator=generator, requires_grad=True)
    starts, prompts, pairs = (0, 9, 13), [], []
    for number, each in enumerate(groups):
        pairs += [(starts[number] + a, starts[number] + b) for a, b in each.pairs]
        prompts += [number] * len(each.pairs)
    ours = kwise_loss_batch(rewards_N, torch.tensor(pairs), torch.tensor(prompts))
    naive = torch.stack([
        torch.stack([
            -torch.nn.functional.logsigmoid(rewards_N[start + a] - rewards_N[start + b]) for a, b in each.pairs
        ]).mean()
        for start, each in zip(starts, groups, strict=True)
    ]).mean()  # fmt: skip
    assert torch.allclose(ours, naive, atol=1e-6)
    assert torch.allclose(torch.autograd.grad(ours, rewards_N)[0], torch.autograd.grad(naive, rewards_N)[0], atol=1e-6)
    of_four = rewards_N[9:13].detach()
    whole, tied = (float(kwise_loss(of_four, some)) * len(some) for some in (all_pairs[1], kept))
    assert whole - tied == pytest.approx(-float(torch.nn.functional.logsigmoid(of_four[0] - of_four[3])), abs=1e-5)
    found = []
    for micro_batch_tokens, packed in ((9999, True), (40, True), (40, False)):
        model = ScalarModel.load(tiny_reward_dir)
        changes = {"policy": tiny_policy_dir, "micro_batch_tokens": micro_batch_tokens, "packed": packed}
        settings = reward_settings(tmp_path, **changes)
        KwiseGradient(model, groups, EpochOrder(3, 3, 0), settings, PAD)()
        found.append(gradients(model))
    model = ScalarModel.load(tiny_reward_dir)
    for each in groups:
        scores = [
            model.score(torch.tensor([s]), torch.ones(1, len(s)))
            for s in map(each.prompt_ids.__add__, each.completions)
        ]
        (
            sum(-torch.nn.functional.logsigmoid(scores[a] - scores[b]) for a, b in each.pairs) / len(each.pairs) / 3
        ).backward()
    for name, truth in gradients(model).items():
        assert all(torch.allclose(each[name], truth, rtol=1e-3, atol=1e-5) for each in found), name


def test_item_37_the_loss_is_finite_at_any_gap() -> None:
    """At a score gap of -1000 the loss is 1000 nats, with a gradient of 1; at +1000 both are 0."""
    for gap, loss, slope in ((-1000.0, 1000.0, 1.0), (1000.0, 0.0, 0.0)):
        rewards_K = torch.tensor([gap, 0.0], requires_grad=True)
        found = kwise_loss(rewards_K, [(0, 1)])
        found.backward()
        assert float(found) == pytest.approx(loss)
        assert rewards_K.grad is not None
        assert rewards_K.grad.tolist() == pytest.approx([-slope, slope])


def test_item_38_reward_model_and_policy_share_a_tokenizer(
    ppo_settings: Settings, ppo_job: Job, tiny_reward_dir: Path, tmp_path: Path
) -> None:
    """A reward model with another vocabulary, EOS or chat template is refused before anything is sampled."""
    tokenizer = load_tokenizer(ppo_settings().policy)
    other = tmp_path / "reward"
    shutil.copytree(tiny_reward_dir, other)
    tokenizer.save_pretrained(other)
    ppo_job(ppo_settings(reward=other))
    for change, what in (
        (lambda t: t.add_tokens(["<new>"]), "vocabulary"),
        (lambda t: setattr(t, "eos_token", "<|user|>"), "EOS"),
        (lambda t: setattr(t, "chat_template", "{{ messages }}"), "chat template"),
    ):
        changed = load_tokenizer(ppo_settings().policy)
        change(changed)
        changed.save_pretrained(other)
        with pytest.raises(ConfigError, match=f"do not share a tokenizer: .*{what}"):
            ppo_job(ppo_settings(reward=other))
