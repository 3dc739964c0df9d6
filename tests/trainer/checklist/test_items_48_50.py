"""Items 48 to 50: what a reward model may reward by mistake, and how a run notices."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.checklist.test_items_31_38 import reward_settings
from tests.trainer.checklist.tiny import BOS, EOS, PAD, rollout_of
from trainer.data.batches import EpochOrder
from trainer.data.reading import PreferenceGroup
from trainer.maths.overoptimisation import fit, turnover
from trainer.maths.pair_report import report
from trainer.models.scalar import ScalarModel
from trainer.ppo import ppo
from trainer.ppo.experience import Scored
from trainer.ppo.guards import Guards
from trainer.ppo.job import PpoJob
from trainer.ppo.ppo import iterate, run_ppo
from trainer.ppo.reward_curve import RewardCurve
from trainer.settings.ppo import PpoSettings
from trainer.stages.evaluation import _figures
from trainer.stages.kwise import KwiseGradient
from trainer.stages.score import judge

Settings = Callable[..., PpoSettings]
Job = Callable[[PpoSettings], PpoJob]
HEALTHY = {
    "objective/kl": 1.0, "episode/eos_rate": 0.9, "episode/empty_rate": 0.0, "ppo/policy/entropy_avg": 2.0,
    "sampler/gap_mean": 0.0, "sampler/ess": 1.0, "objective/scores_std": 1.0, "ppo/advantages_std": 1.0,
    "objective/held_out_fall": 0.0, "objective/scores": 0.0,
}  # fmt: skip
FAULTS = {
    "KL 200 nats an episode is over its limit": {"objective/kl": 200.0},
    "over 1.5 times the budget of 5": {"objective/kl": 7.6},
    "EOS rate fell from 0.9 to 0.3": {"episode/eos_rate": 0.3},
    "completions run into the length cap": {"episode/eos_rate": 0.0},
    "60% of the completions are empty": {"episode/empty_rate": 0.6},
    "the policy has collapsed": {"ppo/policy/entropy_avg": 0.05},
    "scores do not vary": {"objective/scores_std": 0.0},
    "advantages do not vary": {"ppo/advantages_std": 0.0},
    "sampler and trainer differ by 0.1": {"sampler/gap_mean": 0.1},
    "an effective share of 0.9": {"sampler/ess": 0.9},
    "over-optimisation": {"objective/held_out_fall": 0.2},
    "objective/scores is nan": {"objective/scores": math.nan},
}


def ranked(rule: Callable[[list[int]], float], numbers: Sequence[int]) -> list[PreferenceGroup]:
    """Groups of four completions of unequal length, judged by a rule."""
    groups = []
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        lengths = (torch.randperm(8, generator=generator)[:4] + 2).tolist()
        completions = [[*torch.randint(20, 300, (n,), generator=generator).tolist(), EOS] for n in lengths]
        order = sorted(range(4), key=lambda index: -rule(completions[index]))
        pairs = [(order[a], order[b]) for a in range(4) for b in range(a + 1, 4)]
        groups.append(
            PreferenceGroup(
                id=str(number),
                messages=[{"role": "user", "content": str(number)}],
                prompt_ids=[BOS, 6 + number % 10],
                completions=completions,
                finished=[True] * 4,
                pairs=pairs,
            )
        )
    return groups


def test_item_48_a_reward_for_length_is_reported(tmp_path: Path, tiny_policy_dir: Path, tiny_reward_dir: Path) -> None:
    """Labels that prefer the longer answer show in Spearman's correlation and in the bias, on pairs and on rollouts."""
    rules: dict[str, Callable[[list[int]], float]] = {"length": len, "first token": lambda tokens: tokens[0]}
    found: dict[str, dict[str, Any]] = {}
    for name, rule in rules.items():
        model, train = ScalarModel.load(tiny_reward_dir), ranked(rule, range(48))
        settings = reward_settings(tmp_path, policy=tiny_policy_dir)
        gradient = KwiseGradient(model, train, EpochOrder(48, 12, 0), settings, PAD)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(24):
            gradient()
            optimizer.step()
            optimizer.zero_grad()
        found[name] = report(judge(model, ranked(rules["first token"], range(100, 140)), PAD, 9999), bootstrap=200)
    assert found["length"]["length_spearman"] > 0.7
    assert found["length"]["length_bias_low"] > 0.1
    assert abs(found["first token"]["length_spearman"]) < 0.4
    assert found["first token"]["length_bias_low"] < 0.1
    rollout = rollout_of([[20, EOS], [21, 22, 23, EOS], [24, 25, EOS], [EOS]])
    zeros = torch.zeros(4, 4)
    for sign in (1.0, -1.0):
        scores_B = sign * torch.tensor([2.0, 90.0, 3.0, 1.0])
        scored = Scored(
            logprobs_BA=zeros, ref_logprobs_BA=zeros, values_BA=zeros, entropies_BA=zeros, scores_B=scores_B
        )
        rows = [{"score": float(s), "token_ids": t} for s, t in zip(scores_B, rollout.completions(), strict=True)]
        assert _figures(rollout, scored, rows, has_reference=False)["length_score_correlation"] == pytest.approx(sign)


def test_item_49_every_guard_stops_with_its_reason_and_the_last_good_weights(
    ppo_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault, injected, is a reason to stop; a run then publishes weights from before it, by NaN as well."""
    limits = ppo_settings(guard_patience=2, checkpoint_every=1, kl_budget_nats=5.0, pretraining=[])
    for reason, fault in FAULTS.items():
        loose = limits.model_copy(update={"kl_budget_nats": 0.0}) if "limit" in reason else limits
        guards = Guards(loose)
        assert guards.check(HEALTHY) is None
        first, second = guards.check(HEALTHY | fault), guards.check(HEALTHY | fault)
        at_once = "budget" in reason or "nan" in reason
        assert (first is not None) == at_once, reason
        assert reason in str(second)
        guards = Guards(loose)
        verdicts = [guards.check(HEALTHY | (fault if number % 2 else {})) for number in range(6)]
        assert at_once or verdicts == [None] * 6, reason
    assert Guards(limits).check(HEALTHY | {"objective/kl": 7.4}) is None
    now: list[dict[str, float]] = [{}]

    def faulty(job: PpoJob, *_: object) -> dict[str, float]:
        job.iteration += 1
        with torch.no_grad():
            for tensor in job.average.state_dict().values():
                tensor.fill_(job.iteration)
        return HEALTHY | (now[0] if job.iteration > 3 else {})

    monkeypatch.setattr(ppo, "iterate", faulty)
    for reason, fault in (
        ("lost 20%", {"objective/held_out_fall": 0.2}),
        ("budget of 5", {"objective/kl": 7.6}),
        ("", {}),
    ):
        now[0] = fault
        settings = limits.model_copy(update={"output": tmp_path / f"stopped {reason}"})
        stopped = run_ppo(settings)["stopped"]
        weight = load_file(settings.output / "model.safetensors")["model.norm.weight"]
        if not reason:
            assert stopped is None
            assert float(weight[0]) == 6.0
            continue
        # The third checkpoint's weights are those that the fourth, sick iteration measured: the second is published.
        assert stopped | {"reason": ""} == {
            "reason": "",
            "iteration": 5 - ("budget" in reason),
            "published_iteration": 2,
        }
        assert reason in stopped["reason"]
        assert float(weight[0]) == 2.0
    monkeypatch.setattr(ppo, "iterate", iterate)
    calls: list[int] = []

    def breaks(_messages: object, texts: Sequence[str], _finished: object) -> list[float]:
        calls.append(1)
        return [math.nan if len(calls) > 3 else float(len(text)) for text in texts]

    settings = ppo_settings(output=tmp_path / "nan", checkpoint_every=1, pretraining=[], minibatches=1)
    stopped = run_ppo(settings, reward_fn=breaks)["stopped"]
    assert "3 steps in a row could not be taken" in stopped["reason"]
    assert stopped["published_iteration"] == 2
    lines = [json.loads(line) for line in (settings.output / "bad-batches.jsonl").read_text().splitlines()]
    assert [(line["attempt"], line["step"]) for line in lines] == [(a, s) for a in (0, 1) for s in (3, 4, 5)]
    assert all(tensor.isfinite().all() for tensor in load_file(settings.output / "model.safetensors").values())


def test_item_50_the_held_out_score_turns_where_the_proxy_still_rises(ppo_settings: Settings) -> None:
    """Gao et al.'s curve is recovered; a planted hack turns the gold score over and shows there, not in the proxy."""
    kl_nats = [0.25 * step for step in range(1, 60)]
    truth = [0.3 + math.sqrt(kl) * (2.0 - 0.8 * math.log(math.sqrt(kl))) for kl in kl_nats]
    curve = fit(kl_nats, truth)
    assert curve is not None
    assert (curve.start, curve.alpha, curve.beta) == pytest.approx((0.3, 2.0, 0.8), abs=1e-6)
    assert curve.peak_kl_nats == pytest.approx(math.exp(2.0 / 0.8 - 1) ** 2, rel=1e-5)

    # Twenty answers, the better the rarer; the proxy pays most for the last, which gold abhors.
    start, proxy = torch.linspace(2.0, 0.0, 20), torch.linspace(0.0, 3.0, 20)
    proxy[19] = 5.0
    gold = torch.where(torch.arange(20) == 19, -3.0, proxy)
    logits = start.clone().requires_grad_()
    points: dict[str, list[float]] = {"kl": [], "proxy": [], "gold": []}
    for _ in range(80):
        p = logits.softmax(-1)
        kl = (p * (p.log() - start.log_softmax(-1))).sum()
        for name, figure in (("kl", kl), ("proxy", p @ proxy), ("gold", p @ gold)):
            points[name].append(figure.item())
        logits.data += 0.5 * torch.autograd.grad(p @ proxy, logits)[0]
    assert points["proxy"] == sorted(points["proxy"])
    found = turnover(points["gold"])
    assert found is not None
    assert abs(found.peak_at - max(range(80), key=points["gold"].__getitem__)) <= 3
    assert found.fall > 0.5
    assert turnover(points["proxy"]) is None
    planted = fit(points["kl"], points["gold"])
    assert planted is not None
    assert planted.peak_kl_nats is not None
    assert planted.peak_kl_nats < 0.1 * points["kl"][-1]
    generator = torch.Generator().manual_seed(0)
    flat = (2.0 + 0.1 * torch.randn(200, generator=generator)).tolist()
    assert turnover(flat) is None
    curve_of_run, guards, stopped = RewardCurve(), Guards(ppo_settings(guard_patience=1)), {}
    for step, (kl, paid, liked) in enumerate(zip(*points.values(), strict=True)):
        metrics = HEALTHY | {"objective/kl": kl, "objective/scores": paid}
        if reason := guards.check(metrics | curve_of_run.add(step, metrics, [liked - 1.0, liked + 1.0])):
            stopped[step] = reason
    assert "over-optimisation" in next(iter(stopped.values()))
    assert found.peak_at < min(stopped) < found.peak_at + 10
    reported = curve_of_run.report()
    assert reported is not None
    assert reported["turnover"]["iteration"] == found.peak_at
    assert reported["held_out"]["beta"] == pytest.approx(planted.beta)
    assert reported["proxy"]["alpha"] != planted.alpha
