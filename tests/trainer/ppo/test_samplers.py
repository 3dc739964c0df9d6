"""Which sampler is made, and what it is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainer.models.policies import load_policy, load_tokenizer
from trainer.ppo.job import build_job
from trainer.ppo.samplers import make_sampler
from trainer.running.distributed import World
from trainer.settings.ppo import PpoSettings

CPU = torch.device("cpu")


def settings(policy: Path, prompts: Path, **changes: object) -> PpoSettings:
    given = {"output": "o", "policy": policy, "prompts": [prompts], "batch_size": 16, "episodes": 16}
    return PpoSettings.model_validate(given | changes)


def test_the_transformers_sampler_decodes_as_many_rows_at_once_as_the_settings_say(
    tiny_policy_dir: Path, tiny_reward_dir: Path, prompt_file: Path
) -> None:
    given = settings(
        tiny_policy_dir, prompt_file, reward=tiny_reward_dir, sampler_batch_size=3, max_completion_tokens=4
    )
    job = build_job(given, CPU, needs_reward_model=True)
    widths: list[int] = []
    job.learner.policy.get_input_embeddings().register_forward_pre_hook(
        lambda _module, given: widths.append(len(given[0]))
    )
    job.sample([[1, 5, 6]] * 8, seed=0)
    assert max(widths) == 3
    assert widths.count(3) >= 2


@pytest.mark.parametrize(("size", "rank", "native"), [(1, 0, None), (2, 0, False), (2, 1, "none is made")])
def test_one_engine_is_started_for_a_run_in_the_precision_of_its_passes(
    size: int, rank: int, native: object, tiny_policy_dir: Path, prompt_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []

    def engine(policy: object, tokenizer: object, **options: Any) -> SimpleNamespace:
        made.append(options)
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr("trainer.rollouts.vllm_sampler.VllmSampler", engine)
    given = settings(tiny_policy_dir, prompt_file, sampler="vllm", bf16=True, vllm_cache_gib=2.0)
    policy, tokenizer = load_policy(tiny_policy_dir), load_tokenizer(tiny_policy_dir)
    sampler = make_sampler(given, policy, tokenizer, World(rank, size))
    sampler.close()
    assert [options["native"] for options in made] == ([] if native == "none is made" else [native])
    assert all((options["dtype"], options["cache_gib"]) == (torch.bfloat16, 2.0) for options in made)
