"""Stage ``pretrain``: a small Llama learns to continue raw text; or any policy goes on doing so.

Knows blocks of text and the language-model loss; does not know prompts, demonstrations or rewards.

Dimension letters: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import time
from typing import Any, cast

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from feedback.errors import ConfigError
from trainer.data.batches import EpochOrder
from trainer.data.bpe import train_tokenizer
from trainer.data.rows import BadRows
from trainer.data.text import TextBlocks, read_documents, read_text_blocks, read_text_documents
from trainer.models.actions import logprobs_at, text_positions
from trainer.models.policies import load_policy, load_tokenizer, save_policy, save_tokenizer
from trainer.running.distributed import ALONE, World
from trainer.running.loop import optimize, precision
from trainer.running.optimization import Schedule
from trainer.running.run import Run, open_run
from trainer.running.sharding import pull
from trainer.settings.stages import PretrainSettings


def run(settings: PretrainSettings) -> dict[str, Any]:
    """Train, save the policy in Hugging Face layout, and return the metrics.

    Raises:
        WhetstoneError: bad settings or data, or the loss diverged.
    """
    _check(settings)
    with open_run("pretrain", settings, [*settings.text, *filter(None, (settings.init, settings.tokenizer))]) as run:
        bad = BadRows.of(settings, run.own_directory)
        tokenizer = _tokenizer(run, settings)
        model = _model(settings, tokenizer).to(run.device)
        read = read_text_blocks if settings.packed else read_text_documents
        text = read(settings.text, tokenizer, settings.block_tokens, seed=settings.seed, bad=bad)
        train, valid = text.split(settings.valid_fraction)
        gradient = _Gradient(model, train, settings, run.world)
        steps = settings.max_steps or max(round(settings.epochs * gradient.order.batches_per_epoch), 1)
        schedule = Schedule(
            steps=steps,
            floor=settings.lr_floor,
            warmup=settings.warmup_steps,
            linear=settings.schedule == "linear",
        )
        began_s = time.monotonic()
        optimize(run, settings, model, gradient, gradient, schedule=schedule, lr=settings.lr)
        trained_s = time.monotonic() - began_s
        trained = pull(model)
        if run.world.main:
            save_policy(trained, tokenizer, run.directory)
        return run.finish(
            {
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "vocabulary": len(tokenizer),
                "text_tokens": int(text.lengths_N.sum()),
                "steps": steps,
                "trained_tokens": gradient.tokens,
                "tokens_per_s": round(gradient.tokens_here / max(trained_s, 1e-9)),
                "train_loss": gradient.last_loss,
                "valid_loss": mean_loss(model, valid, settings.batch_size) if len(valid) else None,
                "bad_rows": bad.count,
            }
        )


@torch.no_grad()
def mean_loss(model: PreTrainedModel, text: TextBlocks, batch_size: int) -> float:
    """Return the mean loss over all predicted tokens of some blocks, in nats per token."""
    total, targets = 0.0, int((text.lengths_N - 1).sum())
    for start in range(0, len(text), batch_size):
        ids_BT, lengths_B = text.blocks_NT[start : start + batch_size], text.lengths_N[start : start + batch_size]
        total += float(text_loss(model, ids_BT, lengths_B)) * int((lengths_B - 1).sum())
    return total / targets


def text_loss(model: PreTrainedModel, input_ids_BT: Tensor, lengths_B: Tensor, tokens: float | None = None) -> Tensor:
    """Return () the mean loss over the predicted tokens: all real ones but each row's first.

    Args:
        model: causal language model.
        input_ids_BT: (B, T) int64 tokens, then padding; a causal model needs no mask for it.
        lengths_B: (B,) int64 real tokens of each row, from its start.
        tokens: denominator; the number of predicted tokens here by default.

    Returns:
        () float32, in nats per token.
    """
    ids_BT, lengths_B = input_ids_BT.to(model.device), lengths_B.to(model.device)
    positions = text_positions(ids_BT, lengths_B)
    total = -logprobs_at(model, ids_BT, positions, temperature=1.0).sum()
    return total / (tokens or len(positions.target_N))


class _Gradient:
    """Accumulates one batch's gradient; its cursor is the order's, and how many tokens were seen."""

    def __init__(
        self, model: PreTrainedModel, text: TextBlocks, settings: PretrainSettings, world: World = ALONE
    ) -> None:
        self.model, self.text, self.settings, self.world = model, text, settings, world
        self.order = EpochOrder(len(text), settings.batch_size, settings.seed, text.lengths_N.tolist())
        self.last_loss: float | None = None
        self.tokens = self.tokens_here = 0

    def __call__(self) -> dict[str, float]:
        rows = self.order.next()
        tokens, targets = int(self.text.lengths_N[rows].sum()), int((self.text.lengths_N[rows] - 1).sum())
        mine, weight = self.world.share(rows)
        lengths_B = self.text.lengths_N[mine]
        with precision(self.settings, self.model.device):
            ids_BT = self.text.blocks_NT[mine, : int(lengths_B.max())]
            loss = weight * text_loss(self.model, ids_BT, lengths_B, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        [self.last_loss] = self.world.totals(float(loss.detach()))
        self.tokens += tokens
        self.tokens_here += tokens
        return {"loss": self.last_loss}

    def state(self) -> dict[str, Any]:
        return {"batches": self.order.cursor, "tokens": self.tokens, "loss": self.last_loss}

    def restore(self, state: dict[str, Any]) -> None:
        self.order.cursor, self.tokens = int(state["batches"]), int(state["tokens"])
        self.last_loss = state["loss"]

    def rows(self) -> list[str]:
        return [f"block {row}" for row in self.order.latest]


def _check(settings: PretrainSettings) -> None:
    if settings.init and settings.tokenizer:
        raise ConfigError("--tokenizer cannot be combined with --init, which brings its own")
    if settings.width % settings.heads:
        raise ConfigError(f"--width {settings.width} is not a multiple of --heads {settings.heads}")
    if not settings.init and settings.block_tokens > settings.context_tokens:
        raise ConfigError(
            f"--block-tokens {settings.block_tokens} is longer than the model's context: "
            f"--context-tokens {settings.context_tokens}"
        )


def _tokenizer(run: Run, settings: PretrainSettings) -> PreTrainedTokenizerBase:
    """Load a tokenizer, or train one, which an interrupted run then finds in its own directory."""
    if given := settings.init or settings.tokenizer:
        return load_tokenizer(given)
    own = run.directory / "tokenizer"
    if run.world.main and not own.exists():
        template = settings.chat_template.read_text() if settings.chat_template else None
        tokenizer = train_tokenizer(
            read_documents(settings.text, BadRows(settings.skip_bad)),
            settings.vocab_size,
            chat_template=template,
            special_tokens=settings.special_tokens,
            context_tokens=settings.context_tokens,
            bos=settings.bos,
        )
        draft = run.directory / ".tokenizer"  # hidden, so that a start after a kill sweeps it
        save_tokenizer(tokenizer, draft)
        draft.rename(own)
    run.world.barrier()
    return load_tokenizer(own)


def _model(settings: PretrainSettings, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    if settings.init:
        return load_policy(settings.init)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        # The gated MLP of Llama has three matrices; 8/3 of the width keeps its size that of a plain one of 4 widths.
        intermediate_size=settings.mlp_width or -(-settings.width * 8 // 3 // 32) * 32,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.context_tokens,
        tie_word_embeddings=settings.tied,
        initializer_range=settings.init_std,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return cast(PreTrainedModel, LlamaForCausalLM(config))
