"""Items 45 to 47: order, resumption and precision."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.checklist.tiny import rollout_of
from trainer.data.batches import EpochOrder
from trainer.maths.advantages import gae, token_rewards, whiten
from trainer.maths.logprobs import kl_k1, masked_mean
from trainer.models.actions import entropies, target_logprobs
from trainer.models.policies import load_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo import ppo, updates
from trainer.ppo.experience import score_rollout
from trainer.ppo.job import PpoJob
from trainer.ppo.ppo import iterate, run_ppo
from trainer.settings.ppo import PpoSettings
from trainer.settings.stages import SftSettings
from trainer.stages import sft

Settings = Callable[..., PpoSettings]
Job = Callable[[PpoSettings], PpoJob]
KILLED_AT = 5


def test_item_45_every_episode_once_an_inner_epoch(
    ppo_settings: Settings, ppo_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new order for every inner epoch and iteration, each episode once in it; nothing is dropped, in any stage."""
    seen: list[list[int]] = []
    step = updates.minibatch_step

    def spy(learner: Any, experience: Any, rows_B: torch.Tensor, *rest: Any) -> dict[str, torch.Tensor]:
        seen.append(rows_B.tolist())
        return step(learner, experience, rows_B, *rest)

    monkeypatch.setattr(updates, "minibatch_step", spy)
    settings = ppo_settings(batch_size=8, minibatches=2, inner_epochs=2, ptx_coef=0.0)
    job = ppo_job(settings)
    for _ in range(2):
        iterate(job, settings)
    epochs = [seen[start] + seen[start + 1] for start in range(0, 8, 2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(8))] * 4
    assert len({tuple(epoch) for epoch in epochs}) == 4
    order = EpochOrder(10, 4, seed=1)
    batches = [[order.next() for _ in range(order.batches_per_epoch)] for _ in range(2)]
    assert [len(batch) for batch in batches[0]] == [4, 4, 2]
    assert all(sorted(itertools.chain(*epoch)) == list(range(10)) for epoch in batches)
    assert batches[0] != batches[1]


def killed(work: Callable[[], object]) -> None:
    """Do the work in a forked process that kills itself with signal 9 on the way."""
    if torch.cuda.is_available():
        pytest.skip("autograd's device threads do not survive a fork; a subprocess is killed in test_ppo.py")
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)  # not killed: the caller notices
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def digests(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(directory.rglob("*.safetensors"))}  # fmt: skip


def timeless(directory: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "s" and not k.startswith("time/")} for line in lines]


def test_item_46_ten_iterations_are_five_a_kill_and_five(
    ppo_settings: Settings, tiny_policy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PPO: data order, sampling, minibatches, text; SFT: dropout. Weights, values and metrics end in the same bits."""
    given = {"episodes": 80, "checkpoint_every": 5, "minibatches": 2, "ptx_per_episode": 1.0, "kl_target_nats": 1.0}
    whole = ppo_settings(**given, output=tmp_path / "whole")
    again = ppo_settings(**given, output=tmp_path / "again")
    run_ppo(whole)

    def die_in_the_sixth() -> None:
        iteration = ppo.iterate

        def deadly(job: PpoJob, *rest: Any) -> dict[str, float]:
            if job.iteration == KILLED_AT:
                os.kill(os.getpid(), signal.SIGKILL)
            return iteration(job, *rest)

        monkeypatch.setattr(ppo, "iterate", deadly)
        run_ppo(again)

    killed(die_in_the_sixth)
    assert not again.output.exists()
    run_ppo(again)
    assert digests(again.output) == digests(whole.output) != {}
    assert timeless(again.output) == timeless(whole.output)
    assert [line["step"] for line in timeless(again.output)] == list(range(1, 11))

    rows = [{"id": str(n), "prompt": f"q {n}", "response": "the red fox"} for n in range(6)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = [
        SftSettings(
            output=tmp_path / name, policy=tiny_policy_dir, demonstrations=[tmp_path / "d.jsonl"], dropout=0.2,
            epochs=4, batch_size=4, lr=1e-3, valid_fraction=0.0, max_prompt_tokens=64, max_completion_tokens=16,
            threads=1, device="cpu", checkpoint_every=5,
        )
        for name in ("sft", "sft-again")
    ]  # fmt: skip
    sft.run(made[0])

    def die_in_the_sixth_step() -> None:
        loss, calls = sft.demonstration_loss, []

        def deadly(*given: Any, **named: Any) -> torch.Tensor:
            calls.append(1)
            if len(calls) > KILLED_AT:
                os.kill(os.getpid(), signal.SIGKILL)
            return loss(*given, **named)

        monkeypatch.setattr(sft, "demonstration_loss", deadly)
        sft.run(made[1])

    killed(die_in_the_sixth_step)
    sft.run(made[1])
    assert digests(made[1].output) == digests(made[0].output) != {}
    assert timeless(made[1].output) == timeless(made[0].output)


def test_item_47_float32_where_it_matters(
    ppo_settings: Settings, ppo_job: Job, tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    """Logits are raised before the softmax; values, KL and advantages are float32; bfloat16 stays within 1e-2."""
    logits = (torch.randn(6, 320, generator=torch.Generator().manual_seed(0)) * 4).bfloat16()
    targets = torch.arange(6)
    raised = logits.float().log_softmax(-1)
    found = target_logprobs(logits, targets, 1.0)
    assert found.dtype == torch.float32
    assert torch.allclose(found, raised.gather(1, targets[:, None]).squeeze(1), atol=1e-5)
    assert torch.allclose(entropies(logits, 1.0), -(raised.exp() * raised).sum(-1), atol=1e-4)
    halves = [torch.randn(2, 3, generator=torch.Generator().manual_seed(n)).bfloat16() for n in range(2)]
    mask = torch.ones(2, 3, dtype=torch.bool)
    rewards = token_rewards(*halves, torch.zeros(2).bfloat16(), mask, kl_coef=0.1)
    assert torch.equal(rewards, -0.1 * (halves[0].float() - halves[1].float()))
    advantages, returns = gae(rewards.bfloat16(), halves[1], mask, gamma=1.0, lam=0.95)
    exact = gae(rewards.bfloat16().double().float(), halves[1].float(), mask, gamma=1.0, lam=0.95)
    assert torch.equal(advantages, exact[0])
    assert [t.dtype for t in (returns, whiten(halves[0], mask), kl_k1(*halves))] == [torch.float32] * 3
    assert masked_mean(halves[0], mask).dtype == torch.float32
    rollout = rollout_of([[20, 21, 22, 2], [23, 2], [24, 25, 26]])
    value = ScalarModel.load(tiny_reward_dir)
    hidden = torch.randn(5, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    exact_head = hidden.float() @ value.head.weight.detach()[0] + value.head.bias.detach()
    scored = []
    for half in (False, True):
        policy = load_policy(tiny_policy_dir)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scored.append(
                score_rollout(
                    rollout,
                    policy=policy,
                    reference=policy,
                    value=value,
                    reward=value,
                    temperature=1.0,
                    micro_batch_tokens=999,
                )
            )
            scalars = value._scalars(hidden)
        assert torch.allclose(scalars, exact_head, atol=1e-5)
    full, half_ = scored
    assert half_.scores_B is not None
    assert {t.dtype for t in (half_.logprobs_BA, half_.values_BA, half_.entropies_BA, half_.scores_B)} == {
        torch.float32
    }
    assert torch.allclose(half_.entropies_BA, full.entropies_BA, rtol=1e-2, atol=1e-2)
    assert torch.equal(half_.logprobs_BA, half_.ref_logprobs_BA)
    figures = {}
    drawn = rollout_of([[20, 21, 22, 2], [23, 2], [24, 25, 26], [2]] * 2)
    for half in (False, True):
        settings = ppo_settings(bf16=half)
        job = ppo_job(settings)
        job.sampler.sample = lambda *_, **__: drawn  # type: ignore[method-assign]
        figures[half] = iterate(job, settings)
    for name in ("ppo/policy/entropy_avg", "ppo/ptx/loss"):
        assert figures[True][name] == pytest.approx(figures[False][name], rel=1e-2)
