"""Policies and scalar models (reward and value): loading, saving, and what they return.

Knows transformers' directory layout, dropout, positions and heads; does not know losses, data or optimizers.
Tokenizers are in `trainer.tokens`, re-exported here.

Dimension letters: B batch, T tokens, D width of the residual stream. Masks are 1 at real tokens.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from feedback.artifacts import write_manifest
from feedback.errors import ArtifactCorrupt, ArtifactMissing, ConfigError
from trainer.tokens import first_line, load_tokenizer, require_same_tokenizer, save_tokenizer

__all__ = [
    "ScalarModel", "context_tokens", "last_positions", "load_policy", "load_tokenizer", "position_ids",
    "require_same_tokenizer", "save_policy", "save_tokenizer",
]  # fmt: skip

_DROPOUT_KEYS = ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "dropout", "hidden_dropout")
_RESIDUAL_BRANCH_ENDS = ("o_proj", "down_proj")
_HEAD_FILE = "scalar_head.safetensors"

transformers.utils.logging.disable_progress_bar()


def load_policy(
    path: str | Path, dtype: torch.dtype = torch.float32, *, dropout: float = 0.0, device: str | torch.device = "cpu"
) -> PreTrainedModel:
    """Return a causal language model in evaluation mode, with the given dropout and no other.

    Args:
        path: directory in Hugging Face layout (or a hub id).
        dtype: of the weights.
        dropout: residual dropout (Ouyang et al. 2022, C.1); acts in training mode only.
        device: where the weights go.

    Raises:
        ArtifactMissing: nothing loadable there.
    """
    model = _load(AutoModelForCausalLM, path, dtype, dropout)
    _add_residual_dropout(model, dropout)
    return cast(PreTrainedModel, model.to(device).eval())


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: str | Path) -> None:
    """Write a policy in Hugging Face layout with ``manifest.json``; tokenizer, template and special ids included."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for settings in (model.config, model.generation_config):
        if settings is not None:
            settings.eos_token_id = tokenizer.eos_token_id
            settings.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(directory)
    save_tokenizer(tokenizer, directory)
    write_manifest(directory)


def context_tokens(model: PreTrainedModel) -> int | None:
    """Return the longest sequence that the model was made for, if its configuration says so."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if limit is None else int(limit)


def position_ids(attention_mask_BT: Tensor) -> Tensor:
    """Return (B, T) int64 positions that count real tokens from 0, whatever the padding side."""
    return (attention_mask_BT.long().cumsum(dim=1) - 1).clamp(min=0)


def last_positions(attention_mask_BT: Tensor) -> Tensor:
    """Return (B,) int64 index of each row's last real token.

    Raises:
        ValueError: a row has no real token.
    """
    mask_BT = attention_mask_BT.bool()
    if not bool(mask_BT.any(dim=1).all()):
        raise ValueError("a sequence without a single real token has no last token")
    indices_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return torch.where(mask_BT, indices_T, -1).amax(dim=1)


class ScalarModel(nn.Module):
    """A transformer trunk with one scalar per position: the reward model, and the value model.

    Attributes:
        trunk: transformer without its vocabulary head.
        head: D to 1, initialised with standard deviation 1 / sqrt(D + 1) and zero bias.
        bias: () float32 subtracted from every output; set so that demonstrations average 0.
    """

    bias: Tensor

    def __init__(self, trunk: PreTrainedModel) -> None:
        """Put a fresh head on ``trunk``, drawn from torch's default generator."""
        super().__init__()
        width = int(trunk.config.hidden_size)
        self.trunk = trunk
        self.head = nn.Linear(width, 1, dtype=torch.float32)
        nn.init.normal_(self.head.weight, std=1.0 / math.sqrt(width + 1))
        nn.init.zeros_(self.head.bias)
        self.register_buffer("bias", torch.zeros((), dtype=torch.float32))

    @property
    def context_tokens(self) -> int | None:
        """Longest sequence that the trunk was made for, if it says so."""
        return context_tokens(self.trunk)

    @classmethod
    def from_policy(
        cls, path: str | Path, dtype: torch.dtype = torch.float32, *, device: str | torch.device = "cpu"
    ) -> ScalarModel:
        """Return a scalar model on the trunk of the policy at ``path``, in evaluation mode, dropout off."""
        return cls(_load(AutoModel, path, dtype)).to(device).eval()

    @classmethod
    def load(
        cls, directory: str | Path, dtype: torch.dtype = torch.float32, *, device: str | torch.device = "cpu"
    ) -> ScalarModel:
        """Return a scalar model that ``save`` wrote, in evaluation mode.

        Raises:
            ArtifactMissing: there is none at ``directory``.
            ArtifactCorrupt: its head does not fit its trunk.
        """
        head_file = Path(directory) / _HEAD_FILE
        if not head_file.is_file():
            raise ArtifactMissing(f"{directory}: no {_HEAD_FILE}; this is not a reward or value model")
        model = cls(_load(AutoModel, directory, dtype))
        tensors = load_file(head_file)
        try:
            model.head.load_state_dict({"weight": tensors["weight"], "bias": tensors["head_bias"]})
            model.bias.copy_(tensors["bias"])
        except (KeyError, RuntimeError) as error:
            raise ArtifactCorrupt(f"{head_file}: does not fit the trunk: {first_line(error)}") from error
        return model.to(device).eval()

    def save(self, directory: str | Path, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        """Write the trunk in Hugging Face layout, the head and the tokenizer beside it; safetensors only."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.trunk.save_pretrained(directory)
        head = {"weight": self.head.weight, "head_bias": self.head.bias, "bias": self.bias}
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in head.items()}, directory / _HEAD_FILE)
        if tokenizer is not None:
            save_tokenizer(tokenizer, directory)
        write_manifest(directory)

    def forward(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Return (B, T) float32: the scalar of the prefix that ends at each token, minus ``bias``."""
        return self._scalars(self._hidden(input_ids_BT, attention_mask_BT))

    def score(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        """Return (B,) float32: the scalar at each row's last real token, minus ``bias``."""
        last_B = last_positions(attention_mask_BT)
        hidden_BTD = self._hidden(input_ids_BT, attention_mask_BT)
        return self._scalars(hidden_BTD[torch.arange(len(last_B), device=last_B.device), last_B])

    def _hidden(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> Tensor:
        output = self.trunk(
            input_ids=input_ids_BT,
            attention_mask=attention_mask_BT,
            position_ids=position_ids(attention_mask_BT),
            use_cache=False,
        )
        return cast(Tensor, output.last_hidden_state)

    def _scalars(self, hidden: Tensor) -> Tensor:
        # In float32 even under autocast: differences of rewards and values are small beside the values.
        with torch.autocast(hidden.device.type, enabled=False):
            return F.linear(hidden.float(), self.head.weight.float(), self.head.bias.float()).squeeze(-1) - self.bias


def _load(kind: Any, path: str | Path, dtype: torch.dtype, dropout: float = 0.0) -> PreTrainedModel:
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
