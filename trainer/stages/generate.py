"""Completions of prompts by one policy, written as JSON lines: the reference decode, and a source of samples.

A row: ``{"id", "messages", "completions": [{"text", "token_ids", "finished", "logprobs"?}, ...]}``. ``token_ids`` ends
with EOS when ``finished``; ``text`` holds no special token; ``logprobs`` are nats a token, of the distribution drawn
from (temperature 1 when greedy). Greedy decoding in float32 gives the tokens that vLLM gives in float32.

Knows files and order; sampling is in ``rollouts_transformers``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from feedback.artifacts import sync
from feedback.errors import ConfigError
from trainer.data.reading import BadRows, Counts, Limits, read_prompts
from trainer.models.policies import load_policy, load_tokenizer
from trainer.rollouts.rollout import Rollout
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.running.run import open_run, prepare
from trainer.settings.evaluate import GenerateSettings

COMPLETIONS_FILE = "completions.jsonl"


def run(settings: GenerateSettings) -> dict[str, Any]:
    """Write the completions; return how many prompts, completions, tokens and EOS there were.

    Raises:
        WhetstoneError: an input is missing or unusable, or the output is in the way.
    """
    if settings.output.suffix != ".jsonl":
        with open_run("generate", settings, [*settings.prompts, settings.policy]) as this:
            return this.finish(_generate(settings, this.device, this.directory / COMPLETIONS_FILE))
    if settings.output.is_dir():
        raise ConfigError(f"--output {settings.output}: is a directory; give a .jsonl file or a new directory")
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    partial = settings.output.with_name(f".{settings.output.name}.{os.getpid()}")
    metrics = _generate(settings, prepare(settings), partial)
    sync(partial)
    partial.replace(settings.output)
    return {"stage": "generate"} | metrics


def _generate(settings: GenerateSettings, device: torch.device, path: Path) -> dict[str, Any]:
    """Sample everything and write it to ``path``, one row a prompt."""
    tokenizer = load_tokenizer(settings.policy)
    counts = Counts(bad=BadRows.of(settings, path.parent if settings.output.suffix != ".jsonl" else None))
    limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
    prompts = read_prompts(settings.prompts, tokenizer, limits, counts)
    sampler = TransformersSampler(
        load_policy(settings.policy, device=device),
        eos_id=int(tokenizer.eos_token_id),
        pad_id=int(tokenizer.pad_token_id),
        max_completion_tokens=settings.max_completion_tokens,
        min_completion_tokens=settings.min_completion_tokens,
        temperature=0.0 if settings.greedy else settings.temperature,
        batch_size=settings.batch_size,
    )
    repeated = [prompt.prompt_ids for prompt in prompts for _ in range(settings.n)]
    rollout = sampler.sample(repeated, settings.seed)
    rows = list(completion_rows(rollout, tokenizer, with_logprobs=settings.logprobs))
    with path.open("w") as file:
        for index, prompt in enumerate(prompts):
            chunk = rows[index * settings.n : (index + 1) * settings.n]
            row = {"id": prompt.id, "messages": prompt.messages, "completions": chunk}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return {
        "prompts": len(prompts),
        "completions": len(repeated),
        "tokens": int(rollout.completion_tokens_B.sum()),
        "eos_rate": rollout.finished_B.float().mean().item(),
        "rows": counts.as_metrics(),
    }


def completion_rows(
    rollout: Rollout, tokenizer: PreTrainedTokenizerBase, *, with_logprobs: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield text, token ids and whether it finished, for every completion of a rollout, in order."""
    completions = rollout.completions()
    texts = tokenizer.batch_decode(completions, skip_special_tokens=True)
    logprobs = rollout.sampler_logprobs_BA.tolist()
    for tokens, text, finished, row in zip(completions, texts, rollout.finished_B.tolist(), logprobs, strict=True):
        fields: dict[str, Any] = {"text": text, "token_ids": tokens, "finished": finished}
        if with_logprobs:
            fields["logprobs"] = row[: len(tokens)]
        yield fields
