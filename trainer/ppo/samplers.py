"""Which sampler a PPO run draws from.

Knows the samplers and what each is told; does not know rollouts or training.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trainer.rollouts.rollout import Sampler
from trainer.rollouts.together import MainSampler
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.running.distributed import ALONE, World
from trainer.running.sharding import pull
from trainer.settings.ppo import PpoSettings


def make_sampler(
    settings: PpoSettings, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, world: World = ALONE
) -> Sampler:
    """The sampler that the settings name; one vLLM engine, started by the main process, for all of several."""
    if settings.sampler == "transformers":
        return TransformersSampler(
            policy,
            eos_id=int(tokenizer.eos_token_id),
            pad_id=int(tokenizer.pad_token_id),
            max_completion_tokens=settings.max_completion_tokens,
            temperature=settings.temperature,
            batch_size=settings.sampler_batch_size,
        )
    whole = pull(policy)

    def start() -> Sampler:
        from trainer.rollouts.vllm_sampler import VllmSampler  # importing vLLM takes seconds

        return VllmSampler(
            whole,
            tokenizer,
            max_prompt_tokens=settings.max_prompt_tokens,
            max_completion_tokens=settings.max_completion_tokens,
            temperature=settings.temperature,
            cache_gib=settings.vllm_cache_gib,
            dtype=torch.bfloat16 if settings.bf16 else None,
            native=None if world.size == 1 else False,  # what was gathered lies on the CPU
        )

    return start() if world.size == 1 else MainSampler(start, world)
