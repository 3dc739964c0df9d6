"""Stage ``pretrain``: a small Llama learns to continue raw text; or any policy goes on doing so.

Knows packed blocks and the language-model loss; does not know prompts, demonstrations or rewards.

Dimension letters: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import time
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from feedback.errors import ConfigError
from trainer.bpe import train_tokenizer
from trainer.loop import optimize, precision
from trainer.models import load_policy, load_tokenizer, save_policy, save_tokenizer
from trainer.rows import BadRows
from trainer.run import Run, open_run
from trainer.settings import PretrainSettings
from trainer.text import TextBlocks, read_documents, read_text_blocks


def run(settings: PretrainSettings) -> dict[str, Any]:
    """Train, save the policy in Hugging Face layout, and return the metrics.

    Raises:
        WhetstoneError: bad settings or data, or the loss diverged.
    """
    if settings.init and settings.tokenizer:
        raise ConfigError("--tokenizer cannot be combined with --init, which brings its own")
    if settings.width % settings.heads:
        raise ConfigError(f"--width {settings.width} is not a multiple of --heads {settings.heads}")
    if not settings.init and settings.block_tokens > settings.context_tokens:
        raise ConfigError(
            f"--block-tokens {settings.block_tokens} is longer than the model's context: "
            f"--context-tokens {settings.context_tokens}"
        )
    with open_run("pretrain", settings, settings.text) as run:
        bad = BadRows(settings.skip_bad)
        tokenizer = _tokenizer(run, settings)
        model = _model(settings, tokenizer).to(run.device)
        blocks, valid = _blocks(settings, tokenizer, bad)
        steps = settings.max_steps or max(round(settings.epochs * len(blocks) / settings.batch_size), 1)
        began_s = time.monotonic()
        gradient = _Gradient(model, blocks, settings, run.device)
        start = optimize(
            run, settings, model, gradient, gradient, steps=steps, lr=settings.lr, warmup_steps=settings.warmup_steps
        )
        trained_s = time.monotonic() - began_s
        save_policy(model, tokenizer, run.directory)
        tokens = (steps - start) * settings.batch_size * settings.block_tokens
        return run.finish(
            {
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "vocabulary": len(tokenizer),
                "text_tokens": (len(blocks) + len(valid)) * settings.block_tokens,
                "steps": steps,
                "trained_tokens": steps * settings.batch_size * settings.block_tokens,
                "tokens_per_s": round(tokens / max(trained_s, 1e-9)),
                "train_loss": gradient.last_loss,
                "valid_loss": mean_loss(model, valid.blocks_NT, settings.batch_size) if len(valid) else None,
                "bad_rows": bad.count,
            }
        )


@torch.no_grad()
def mean_loss(model: PreTrainedModel, blocks_NT: Tensor, batch_size: int) -> float:
    """Return the mean loss over all predicted tokens of packed blocks, in nats per token."""
    total = 0.0
    device = model.device
    for blocks_BT in torch.split(blocks_NT, batch_size):
        total += float(block_loss(model, blocks_BT.to(device))) * len(blocks_BT)
    return total / len(blocks_NT)


def block_loss(model: PreTrainedModel, blocks_BT: Tensor) -> Tensor:
    """Return () the mean loss over the T - 1 predicted tokens of each packed block, in nats per token."""
    # Packed blocks have no padding: without a mask, attention takes its fast causal path.
    logits_BTV = model(input_ids=blocks_BT, use_cache=False).logits[:, :-1]
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), blocks_BT[:, 1:].flatten())


class _Gradient:
    """Accumulates one batch's gradient; its cursor is the blocks' own."""

    def __init__(
        self, model: PreTrainedModel, blocks: TextBlocks, settings: PretrainSettings, device: torch.device
    ) -> None:
        self.model, self.blocks, self.settings, self.device = model, blocks, settings, device
        self.last_loss: float | None = None

    def __call__(self) -> dict[str, float]:
        blocks_BT = self.blocks.take(self.settings.batch_size).to(self.device)
        with precision(self.settings, self.device):
            loss = block_loss(self.model, blocks_BT)
        loss.backward()  # type: ignore[no-untyped-call]
        self.last_loss = float(loss.detach())
        return {"loss": self.last_loss}

    def state(self) -> dict[str, Any]:
        return {"blocks": self.blocks.cursor}

    def restore(self, state: dict[str, Any]) -> None:
        self.blocks.cursor = int(state["blocks"])


def _tokenizer(run: Run, settings: PretrainSettings) -> PreTrainedTokenizerBase:
    """Load a tokenizer, or train one, which an interrupted run then finds in its own directory."""
    if given := settings.init or settings.tokenizer:
        return load_tokenizer(given)
    own = run.directory / "tokenizer"
    if not (own / "tokenizer_config.json").exists():
        template = settings.chat_template.read_text() if settings.chat_template else None
        tokenizer = train_tokenizer(
            read_documents(settings.text, BadRows(settings.skip_bad)),
            settings.vocab_size,
            chat_template=template,
            special_tokens=settings.special_tokens,
            context_tokens=settings.context_tokens,
        )
        save_tokenizer(tokenizer, own)
    return load_tokenizer(own)


def _model(settings: PretrainSettings, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    if settings.init:
        return load_policy(settings.init)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        # The gated MLP of Llama has three matrices; 8/3 of the width keeps its size that of a plain one of 4 widths.
        intermediate_size=-(-settings.width * 8 // 3 // 32) * 32,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.context_tokens,
        # Untied: at this vocabulary it costs little, and tied weights complicate hot swaps.
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return cast(PreTrainedModel, LlamaForCausalLM(config))


def _blocks(
    settings: PretrainSettings, tokenizer: PreTrainedTokenizerBase, bad: BadRows
) -> tuple[TextBlocks, TextBlocks]:
    blocks = read_text_blocks(settings.text, tokenizer, settings.block_tokens, seed=settings.seed, bad=bad)
    return blocks.split(settings.valid_fraction)
