"""A PPO-ptx problem of a given size made from random numbers, and what it must cost: parameters, operations, memory.

Knows sizes, files and arithmetic; does not know either trainer. Weights are random, so what is trained means nothing;
what is measured is what the same shapes cost with any weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from benchmarks.ppo_world import words
from trainer.models.scalar import ScalarModel

PAD, EOS, FIRST = 0, 1, 2
GIB = 2**30
FLOAT32, BFLOAT16 = 4, 2
"""Bytes of a number."""
BYTES_PER_TOKEN_AND_WIDTH = 70
"""What one layer keeps of a token for the backward pass, in bytes times the width, under bfloat16 autocast over float32
weights with a gated MLP 2.7 times as wide: two float32 residuals, two norms (12), queries, keys, values, attention and
its input (12), gate, up, product and its input (22), and their float32 casts in the norms (24). An estimate."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Shapes of the models and of one iteration.

    Attributes:
        width: of the residual stream.
        mlp_width: of the gated MLP.
        layers: transformer blocks.
        heads: of attention, each with keys and values of its own.
        vocabulary: tokens; embeddings and head are two matrices.
        prompt_tokens: of every prompt.
        completion_tokens: most of a completion; random policies hardly ever end one before.
        batch: episodes of an iteration.
        minibatches: optimizer steps of an iteration.
        ptx_per_episode: pretraining blocks for each episode.
        block_tokens: of a pretraining block.
        micro_batch_tokens: most tokens of one pass.
        cache_gib: of vLLM's keys and values.
    """

    width: int = 2048
    mlp_width: int = 5504
    layers: int = 24
    heads: int = 16
    vocabulary: int = 32_000
    prompt_tokens: int = 256
    completion_tokens: int = 256
    batch: int = 512
    minibatches: int = 8
    ptx_per_episode: float = 8.0
    block_tokens: int = 256
    micro_batch_tokens: int = 8192
    cache_gib: float = 24.0

    @property
    def tokens(self) -> int:
        """Of all sequences of an iteration."""
        return self.batch * (self.prompt_tokens + self.completion_tokens)

    @property
    def ptx_tokens(self) -> int:
        """Of all pretraining blocks of an iteration."""
        return round(self.ptx_per_episode * self.batch) * self.block_tokens

    def config(self) -> LlamaConfig:
        """Of every model."""
        return LlamaConfig(
            vocab_size=self.vocabulary, hidden_size=self.width, intermediate_size=self.mlp_width,
            num_hidden_layers=self.layers, num_attention_heads=self.heads, num_key_value_heads=self.heads,
            max_position_embeddings=2 * (self.prompt_tokens + self.completion_tokens), pad_token_id=PAD,
            eos_token_id=EOS, bos_token_id=None, tie_word_embeddings=False, num_labels=1,
        )  # fmt: skip


REAL = Size()
"""1.3 B parameters, 512 episodes of 256 + 256 tokens."""
TINY = Size(
    width=64, mlp_width=96, layers=2, heads=2, vocabulary=128, prompt_tokens=12, completion_tokens=8, batch=8,
    minibatches=2, ptx_per_episode=1.0, block_tokens=16, micro_batch_tokens=128, cache_gib=1.0,
)  # fmt: skip
"""The same path in seconds on a CPU."""


def parameters(size: Size) -> int:
    """Numbers in one policy."""
    layer = 4 * size.width**2 + 3 * size.width * size.mlp_width + 2 * size.width
    return size.layers * layer + 2 * size.vocabulary * size.width + size.width


def operations(size: Size) -> dict[str, float]:
    """Floating-point operations of an iteration's matrix products, by phase; attention and norms are left out.

    Two for a parameter and token forward, four more backward. Scoring runs policy, reference, value and reward model;
    learning runs policy and value model, and the policy on the pretraining blocks.
    """
    per_token = 2.0 * (parameters(size) - size.vocabulary * size.width)  # embeddings are looked up
    return {
        "sample": size.tokens * per_token,
        "score": 4 * size.tokens * per_token,
        "learn": 3 * (2 * size.tokens + size.ptx_tokens) * per_token,
    }


def memory_gib(size: Size, *, vllm: bool) -> dict[str, float]:
    """Device memory that a phase of our trainer must hold at its peak, in GiB; allocators and contexts come on top.

    Always: four models in float32 (policy, reference, value, reward), Adam's two moments for two of them, the average
    of the policy, and what bfloat16 autocast keeps of the two that train. From the first step on also the gradients of
    two models. Sampling: keys and values of every row, or vLLM's weights and its cache, which stay. Learning: the PPO
    gradient set aside while the pretraining one is computed, and what one pass keeps for its backward pass.
    """
    weights = parameters(size) * FLOAT32 / GIB
    half = parameters(size) * BFLOAT16 / GIB
    always = (4 + 2 * 2 + 1 + 2) * weights + 2 * half
    key_value = 2 * size.layers * size.width * BFLOAT16 * size.tokens / GIB
    engine = half + size.cache_gib if vllm else 0.0
    layers = size.layers * size.width * BYTES_PER_TOKEN_AND_WIDTH
    logits = size.vocabulary * (BFLOAT16 + 2 * FLOAT32)
    one_pass = size.micro_batch_tokens * (layers + logits) / GIB
    prompts = size.batch * size.prompt_tokens * (4 * size.width * FLOAT32 + 3 * size.mlp_width * BFLOAT16) / GIB
    return {
        "sample": always + engine + (0.0 if vllm else key_value + prompts),
        "learn": always + engine + weights + one_pass,
    }


def write_problem(size: Size, directory: Path, device: torch.device) -> None:
    """Write models, tokenizer, prompts and text that both sides read, unless they are there.

    ``policy``, ``reward`` (as a sequence classifier, for TRL; value models start from it), ``our-reward`` (the same
    weights in our layout), ``prompts.jsonl`` and ``prompts.json``, ``text.txt``.
    """
    if (directory / "whole").is_file():
        return
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(size.vocabulary)
    kinds: Mapping[str, Any] = {"policy": LlamaForCausalLM, "reward": LlamaForSequenceClassification}
    for seed, (name, kind) in enumerate(kinds.items(), start=1):
        torch.manual_seed(seed)
        with device:
            model = kind(size.config())
        model.to(torch.bfloat16).save_pretrained(directory / name)
        if name == "reward":
            ours = ScalarModel(model.model)
            ours.head.load_state_dict({"weight": model.score.weight.detach(), "bias": torch.zeros(1)})
            ours.save(directory / "our-reward", tokenizer)
        tokenizer.save_pretrained(directory / name)
    rows = _rows(size, 2 * size.batch, size.prompt_tokens, seed=3)
    (directory / "prompts.json").write_text(json.dumps(rows))
    lines = [{"id": f"p{n:05}", "prompt": words(row)} for n, row in enumerate(rows)]
    (directory / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    blocks = max(1, round(size.ptx_per_episode * size.batch) // 4)  # a quarter of an iteration's, read in circles
    text = _rows(size, blocks, size.block_tokens, seed=4)
    (directory / "text.txt").write_text("".join(words(row) + "\n" for row in text))
    (directory / "whole").touch()


def _rows(size: Size, rows: int, tokens: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    found: list[list[int]] = torch.randint(FIRST, size.vocabulary, (rows, tokens), generator=generator).tolist()
    return found


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    names = {"<pad>": PAD, "<eos>": EOS} | {f"t{token}": token for token in range(FIRST, vocabulary)}
    plain = Tokenizer(models.WordLevel(names, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", padding_side="left")
    made.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return made
