"""Our PPO stage on a problem of `benchmarks.gpu_world`, whole: guards, log and progress included; phases are noted.

Argument: a JSON object with ``directory`` of the problem, ``output``, ``iterations``, ``size`` (fields that differ from
the real one's), ``device``, ``sampler`` and ``bf16``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu_phases import Phases
from benchmarks.gpu_world import Size
from trainer.ppo import ppo
from trainer.ppo.job import PpoJob
from trainer.settings.ppo import PpoSettings


def settings(given: dict[str, Any], size: Size) -> PpoSettings:
    """The paper's settings at this size; nothing is stopped, because random weights have no reward to guard."""
    directory = Path(given["directory"])
    return PpoSettings(
        output=Path(given["output"]) / "policy", policy=directory / "policy", reward=directory / "our-reward",
        prompts=[directory / "prompts.jsonl"], pretraining=[directory / "text.txt"], device=given["device"],
        episodes=size.batch * given["iterations"], batch_size=size.batch, minibatches=size.minibatches,
        ptx_per_episode=size.ptx_per_episode, ptx_block_tokens=size.block_tokens, max_prompt_tokens=size.prompt_tokens,
        max_completion_tokens=size.completion_tokens, micro_batch_tokens=size.micro_batch_tokens, bf16=given["bf16"],
        sampler=given["sampler"], vllm_cache_gib=size.cache_gib, threads=0 if given["device"] == "cuda" else 1,
        checkpoint_every=0, max_kl_nats=1e6, max_eos_drop=1.0, max_empty_share=1.0, min_entropy_ratio=0.0,
        max_sampler_gap=1e6,
    )  # fmt: skip


def main(given: dict[str, Any]) -> None:
    """Train; write ``phases.json`` into the output."""
    phases, size = Phases(), Size(**given["size"])
    iterate, sample = ppo.iterate, PpoJob.sample

    def counted(job: PpoJob, *args: Any, **kwargs: Any) -> dict[str, float]:
        if not phases.iteration:
            job.sampler.push = phases.timed("push", job.sampler.push)  # type: ignore[method-assign]
        metrics = iterate(job, *args, **kwargs)
        phases.iteration += 1
        return metrics

    ppo.iterate = counted
    PpoJob.sample = phases.timed("sample", sample)  # type: ignore[method-assign]
    for name, phase in (("score_rollout", "score"), ("take_steps", "learn")):
        vars(ppo)[name] = phases.timed(phase, vars(ppo)[name])
    phases.count_steps()
    metrics = ppo.run(settings(given, size))
    kept = ("episode/length_tokens", "sampler/gap_mean", "sampler/gap_max", "ppo/optimizer_steps", "objective/kl")
    phases.write(
        Path(given["output"]) / "phases.json", last={name: metrics["last"][name] for name in kept},
        stopped=metrics["stopped"], skipped_steps=metrics["skipped_steps"],
    )  # fmt: skip


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
