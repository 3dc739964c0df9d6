"""Policies: loading, saving, dropout and positions.

Knows transformers' directory layout; does not know scalar heads (`trainer.models.scalar`), losses, data or optimizers.
Tokenizers are in `trainer.data.tokens`, re-exported here.

Dimension letters: B batch, T tokens. Masks are 1 at real tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from feedback.artifacts import write_manifest
from feedback.errors import ArtifactCorrupt, ArtifactMissing, ConfigError
from trainer.data.tokens import first_line, load_tokenizer, require_same_tokenizer, save_tokenizer
from trainer.models.adapters import ADAPTER_DIRECTORY, add_adapter, has_adapter, merged, save_adapter
from trainer.settings.lora import LoraSettings

__all__ = [
    "context_tokens", "load_policy", "load_tokenizer", "load_transformer",
    "require_same_tokenizer", "save_policy", "save_tokenizer",
]  # fmt: skip

_DROPOUT_KEYS = ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "dropout", "hidden_dropout")
_RESIDUAL_BRANCH_ENDS = ("o_proj", "down_proj")

transformers.utils.logging.disable_progress_bar()


def load_policy(
    path: str | Path,
    dtype: torch.dtype = torch.float32,
    *,
    dropout: float = 0.0,
    device: str | torch.device = "cpu",
    lora: LoraSettings | None = None,
    seed: int = 0,
) -> PreTrainedModel:
    """Return a causal language model in evaluation mode, with the given dropout and no other.

    Args:
        path: directory in Hugging Face layout (or a hub id).
        dtype: of the weights.
        dropout: residual dropout (Ouyang et al. 2022, C.1); acts in training mode only.
        device: where the weights go.
        lora: adapters to add, which freeze the weights; none, or those of rank 0, leave all weights trainable.
        seed: of the adapters' first values.

    Raises:
        ArtifactMissing: nothing loadable there.
        ConfigError: the adapters do not fit the model.
    """
    model = load_transformer(AutoModelForCausalLM, path, dtype, dropout)
    if lora is not None:
        add_adapter(model, lora, seed=seed)  # before the dropout below, which covers what a branch's adapter adds
    _add_residual_dropout(model, dropout)
    return cast(PreTrainedModel, model.to(device).eval())


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: str | Path) -> None:
    """Write a policy in Hugging Face layout with ``manifest.json``; tokenizer, template and special ids included.

    Adapters are merged into the weights, so that nobody who reads the policy needs to know of them, and written beside.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for settings in (model.config, model.generation_config):
        if settings is not None:
            settings.eos_token_id = tokenizer.eos_token_id
            settings.pad_token_id = tokenizer.pad_token_id
    merged(model).save_pretrained(directory)
    if has_adapter(model):
        save_adapter(model, directory / ADAPTER_DIRECTORY)
    save_tokenizer(tokenizer, directory)
    write_manifest(directory)


def context_tokens(model: PreTrainedModel) -> int | None:
    """Return the longest sequence that the model was made for, if its configuration says so."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if limit is None else int(limit)


def load_transformer(kind: Any, path: str | Path, dtype: torch.dtype, dropout: float = 0.0) -> PreTrainedModel:
    """Load weights, refusing files that lack some: transformers would fill them with random numbers."""
    try:
        config = AutoConfig.from_pretrained(str(path))
        _set_dropout(config, dropout)
        model, found = kind.from_pretrained(
            str(path),
            config=config,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise ArtifactMissing(f"{path}: no loadable model: {first_line(error)}") from error
    except (SafetensorError, RuntimeError) as error:
        raise ArtifactCorrupt(f"{path}: weights cannot be read: {first_line(error)}") from error
    if absent := sorted(found["missing_keys"]) or sorted(map(str, found["mismatched_keys"])):
        raise ArtifactCorrupt(f"{path}: {len(absent)} weights are missing or misshapen, the first is {absent[0]}")
    return cast(PreTrainedModel, model)


def _set_dropout(config: Any, dropout: float) -> None:
    """Turn off every dropout that the architecture has, except its residual one, which gets ``dropout``."""
    for key in _DROPOUT_KEYS:
        if isinstance(getattr(config, key, None), int | float):
            setattr(config, key, dropout if key == "resid_pdrop" else 0.0)


def _add_residual_dropout(model: nn.Module, dropout: float) -> None:
    """Drop out what attention and MLP add to the residual stream in architectures without that option (Llama)."""
    if dropout == 0.0 or hasattr(getattr(model, "config", None), "resid_pdrop"):
        return

    def drop(module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return F.dropout(output, dropout, training=module.training)

    ends = [module for name, module in model.named_modules() if name.endswith(_RESIDUAL_BRANCH_ENDS)]
    if not ends:
        raise ConfigError(f"{type(model).__name__} has no known residual branches; set --dropout 0")
    for module in ends:
        module.register_forward_hook(drop)
