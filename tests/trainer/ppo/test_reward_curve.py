"""A held-out judge sees what the reward model does not: a planted hack is found, stopped and reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from trainer.models.policies import load_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo.ppo import run_ppo
from trainer.ppo.reward_curve import RewardCurve
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.settings.ppo import PpoSettings

SMALL = {
    "batch_size": 32, "minibatches": 2, "episodes": 32 * 50, "max_completion_tokens": 8, "lr": 2e-3, "value_lr": 2e-3,
    "threads": 1, "seed": 3, "device": "cpu", "warmup_iterations": 0, "ema_decay": 0.0, "kl_coef": 0.0,
    "max_kl_nats": 1e4, "min_entropy_ratio": 0.0, "max_eos_drop": 1.0, "checkpoint_every": 1,
    "max_overpay": 1e6, "max_unjudged_pay": 1e6, "max_unearned_gain": 1e6,
}  # fmt: skip


def share_of_e(texts: Sequence[str]) -> list[float]:
    return [text.count("e") / (1 + len(text)) for text in texts]


def proxy(messages: object, texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
    """The more of the letter e, the better."""
    return [10 * share for share in share_of_e(texts)]


def gold(messages: object, texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
    """What people wanted: some of it; a text of nothing but e is worse than one without."""
    return [10 * (share if share < 0.3 else 0.6 - share) for share in share_of_e(texts)]


def test_a_planted_hack_stops_the_run_and_is_reported(tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path) -> None:
    given = SMALL | {"output": tmp_path / "out", "policy": tiny_policy_dir, "prompts": [prompt_file]}
    metrics = run_ppo(PpoSettings.model_validate(given), reward_fn=proxy, held_out_fn=gold)
    assert "the held-out reward model's score lost" in metrics["stopped"]["reason"]
    assert metrics["stopped"]["iteration"] < 50
    rows = [json.loads(line) for line in (tmp_path / "out" / "reward-curve.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(metrics["iterations"]))
    assert rows[-1]["scores"] > rows[0]["scores"] + 1


def test_the_monitors_stop_it_sooner_and_name_what_is_overpaid(
    tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path
) -> None:
    given = SMALL | {"output": tmp_path / "out", "policy": tiny_policy_dir, "prompts": [prompt_file]}
    for name in ("max_overpay", "max_unjudged_pay", "max_unearned_gain"):
        given.pop(name)
    metrics = run_ppo(PpoSettings.model_validate(given), reward_fn=proxy, held_out_fn=lambda *a: [0.1] * len(a[1]))
    stopped = metrics["stopped"]
    assert "more for it than the held-out model, 3 iterations in a row" in stopped["reason"]
    assert stopped["published_iteration"] <= stopped["iteration"] - 3, "weights of before the rule was broken"
    assert stopped["iteration"] < 30


def test_where_both_judges_agree_nothing_is_found(tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path) -> None:
    given = SMALL | {"output": tmp_path / "out", "policy": tiny_policy_dir, "prompts": [prompt_file]}
    settings = PpoSettings.model_validate(given | {"episodes": 32 * 16, "checkpoint_every": 0})
    metrics = run_ppo(settings, reward_fn=proxy, held_out_fn=proxy)
    assert metrics["stopped"] is None
    curve = metrics["reward_curve"]
    assert curve["turnover"] is None
    assert curve["held_out"]["error"] == pytest.approx(curve["proxy"]["error"], rel=1e-5)
    assert metrics["last"]["objective/held_out_scores"] == pytest.approx(metrics["last"]["objective/scores"], rel=1e-5)


def test_points_survive_a_restart_and_the_report_names_the_turn() -> None:
    curve = RewardCurve()
    assert curve.report() is None
    for n in range(40):
        held_out = 0.1 * (20 - abs(n - 20))
        found = curve.add(n, {"objective/kl": 0.2 * n, "objective/scores": 0.1 * n}, [held_out, held_out])
    assert found["objective/held_out_fall"] > 0.5
    copy = RewardCurve()
    copy.load_state_dict(json.loads(json.dumps(curve.state_dict())))
    assert copy.state_dict() == curve.state_dict()
    report = copy.report()
    assert report is not None
    assert abs(report["turnover"]["iteration"] - 20) <= 2
    assert report["held_out"]["peak_kl_nats"] == pytest.approx(0.2 * 20, rel=0.5)
    assert report["proxy"]["error"] < report["held_out"]["error"]


def test_a_held_out_model_scores_what_was_sampled(tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    sampler = TransformersSampler(load_policy(tiny_policy_dir), eos_id=2, pad_id=0, max_completion_tokens=6)
    rollout = sampler.sample([[1, 20, 30], [1, 60], [1, 70, 80, 90, 100]], seed=1)
    judge = ScalarModel.load(tiny_reward_dir)
    found = RewardCurve(judge).scores(rollout, pad_id=0, micro_batch_tokens=64)
    mask = (torch.arange(rollout.input_ids_BT.shape[1]) < rollout.lengths_B[:, None]).long()
    with torch.no_grad():
        assert found == pytest.approx(judge.score(rollout.input_ids_BT, mask).tolist(), abs=1e-5)
