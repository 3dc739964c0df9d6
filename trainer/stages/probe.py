"""A policy's probe: what it answers greedily to a few prompts, and how likely it found each token.

Stored with the policy when it is registered; serving compares its engine with it before a swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trainer.data.reading import Prompt
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.stages.generate import completion_rows

PROBE_PROMPTS = 4
PROBE_TOKENS = 16


def answer_probe(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]
) -> list[dict[str, Any]]:
    """Return ``{messages, token_ids, logprobs}`` for the first `PROBE_PROMPTS` prompts.

    ``token_ids`` are greedy, EOS included where it came; ``logprobs`` are nats a token at temperature 1.
    """
    asked = list(prompts[:PROBE_PROMPTS])
    sampler = TransformersSampler(
        policy,
        eos_id=int(tokenizer.eos_token_id),
        pad_id=int(tokenizer.pad_token_id),
        max_completion_tokens=PROBE_TOKENS,
        temperature=0.0,
    )
    rollout = sampler.sample([prompt.prompt_ids for prompt in asked], seed=0)
    rows = completion_rows(rollout, tokenizer, with_logprobs=True)
    return [
        {"messages": prompt.messages, "token_ids": row["token_ids"], "logprobs": row["logprobs"]}
        for prompt, row in zip(asked, rows, strict=True)
    ]
