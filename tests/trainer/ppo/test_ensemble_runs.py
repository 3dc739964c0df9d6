"""PPO against several reward models: what is paid and shown, and the same bits after a stop and in two processes.

This file is also the program that the launcher runs: ``torchrun test_ensemble_runs.py DIRECTORY``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from feedback.errors import ConfigError
from trainer.models.ensemble import RewardEnsemble, members_of, write_members
from trainer.models.normalisation import score_sequences
from trainer.models.scalar import ScalarModel
from trainer.ppo import ppo
from trainer.ppo.job import build_job
from trainer.running.distributed import join
from trainer.settings.ppo import PpoSettings

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
FACTORS = [1.5, 0.5, 1.0]
ITERATIONS = 4


def settings(inputs: Path, output: Path, **changes: Any) -> PpoSettings:
    """Two minibatches of three episodes an iteration, healthy whatever they do."""
    fields = {"policy": inputs / "policy", "prompts": [inputs / "prompts.jsonl"], "reward": inputs / "ensemble"}
    fields |= {"uncertainty_coef": 0.5, "output": output, "batch_size": 6, "minibatches": 2, "episodes": 6 * ITERATIONS}
    fields |= {"max_completion_tokens": 8, "micro_batch_tokens": 48, "lr": 2e-4, "value_lr": 2e-4, "seed": 4}
    fields |= {"threads": 1, "device": "cpu", "checkpoint_every": 1, "guard_patience": 1000}
    return PpoSettings.model_validate(fields | changes)


@pytest.fixture(scope="module")
def inputs(tiny_policy_dir: Path, prompt_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, prompts, and an ensemble of three random heads."""
    made = tmp_path_factory.mktemp("several")
    (made / "policy").symlink_to(tiny_policy_dir)
    (made / "prompts.jsonl").symlink_to(prompt_file)
    members = [made / "ensemble" / "members" / str(number) for number in range(3)]
    for number, member in enumerate(members):
        torch.manual_seed(number)
        ScalarModel.from_policy(tiny_policy_dir).save(member)
    write_members(made / "ensemble", members, FACTORS)
    return made


@pytest.fixture(scope="module")
def whole(inputs: Path) -> Path:
    """A run of one process from beginning to end."""
    torch.set_num_threads(1)
    ppo.run(settings(inputs, inputs / "whole"))
    return inputs / "whole"


def log(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.relative_to(output)}:{name}": tensor
        for path in sorted(output.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def test_the_value_model_begins_as_the_first_member_and_the_members_stay_as_they_are(inputs: Path) -> None:
    job = build_job(settings(inputs, inputs / "o"), CPU, needs_reward_model=True)
    assert isinstance(job.reward, RewardEnsemble)
    first = members_of(job.reward)[0].state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in job.learner.value.state_dict().items())
    assert not any(p.requires_grad for p in job.reward.parameters())
    assert job.reward.uncertainty_coef == 0.5


def test_a_penalty_for_disagreement_needs_an_ensemble(inputs: Path) -> None:
    alone = settings(inputs, inputs / "o", reward=inputs / "ensemble" / "members" / "0")
    with pytest.raises(ConfigError, match=r"--uncertainty-coef 0\.5 needs an ensemble"):
        build_job(alone, CPU, needs_reward_model=True)
    with pytest.raises(ValidationError, match="give one as reward"):
        settings(inputs, inputs / "o", reward=None)


def test_the_mean_less_the_penalty_is_paid_and_both_are_shown(inputs: Path) -> None:
    given = settings(inputs, inputs / "o")
    job = build_job(given, CPU, needs_reward_model=True)
    ids = [prompt.prompt_ids for prompt in job.next_prompts(given)]
    rollout = job.sample(ids, seed=given.seed * 1_000_003)
    assert isinstance(job.reward, RewardEnsemble)
    sequences = [
        row[:length] for row, length in zip(rollout.input_ids_BT.tolist(), rollout.lengths_B.tolist(), strict=True)
    ]
    own = [score_sequences(member, sequences, 0) for member in members_of(job.reward)]
    scaled = torch.tensor(own) * torch.tensor(FACTORS)[:, None]
    spread = fmean(scaled.std(0).tolist())
    found = ppo.iterate(job, given)
    assert found["objective/uncertainty"] == pytest.approx(spread, rel=1e-4)
    assert found["objective/uncertainty_penalty"] == pytest.approx(0.5 * spread, rel=1e-4)
    assert found["objective/scores"] == pytest.approx(fmean(scaled.mean(0).tolist()) - 0.5 * spread, rel=1e-4)


def test_a_stopped_run_goes_on_to_the_same_bits(
    inputs: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterate, done = ppo.iterate, []

    def interrupted(*arguments: Any) -> dict[str, float]:
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return iterate(*arguments)

    monkeypatch.setattr(ppo, "iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ppo.run(settings(inputs, tmp_path / "again"))
    monkeypatch.setattr(ppo, "iterate", iterate)
    ppo.run(settings(inputs, tmp_path / "again"))
    first, second = weights(whole), weights(tmp_path / "again")
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.slow
def test_two_processes_pay_what_one_pays_with_whole_members_and_with_half_of_each(inputs: Path, whole: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
    ended = subprocess.run(
        [*command, str(inputs)], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    for place in ("together", "sharded"):
        compared = 0
        for mine, theirs in zip(log(whole), log(inputs / place), strict=True):
            for name in mine.keys() - {"s", "time/sample_s", "time/score_s", "time/learn_s"}:
                assert theirs[name] == pytest.approx(mine[name], rel=1e-5, abs=1e-5), f"{place}: {name}"
                compared += name.startswith("objective/uncertainty")
        assert compared == 2 * ITERATIONS
        first, second = weights(whole), weights(inputs / place)
        assert max((first[name] - second[name]).abs().max().item() for name in first) < 1e-5


if __name__ == "__main__":
    with join(CPU, 60.0):
        for shard in (False, True):
            where = Path(sys.argv[1])
            ppo.run(settings(where, where / ("sharded" if shard else "together"), shard=shard))
