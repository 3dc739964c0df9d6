"""Low-rank adapters: small trainable matrices beside the frozen linear layers of a policy.

Knows how peft puts them in, how a model without them or with them merged is seen, and how they are written; does not
know losses, optimizers or runs. A model with adapters keeps its class, its names and its calls. Frozen weights are
never written to: merging makes new matrices, because adding and taking away again would change their last bits.

Source: Hu et al. 2021, arXiv:2106.09685: y = W x + (alpha / rank) B A x, with B = 0 at first.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from feedback.artifacts import sha256_of
from feedback.errors import ConfigError
from trainer.settings.lora import LoraSettings

ADAPTER_DIRECTORY = "adapter"
"""Where a policy's adapter lies in its directory, in peft's format."""
_NAME = "default"
_PEFT_PREFIX = "base_model.model."

Model = TypeVar("Model", bound=PreTrainedModel)


def add_adapter(model: PreTrainedModel, settings: LoraSettings, *, seed: int = 0) -> None:
    """Freeze the model and put adapters, which change nothing yet, beside its linear layers.

    Args:
        model: changed in place.
        settings: rank, scale, dropout and targets; rank 0 leaves the model as it is.
        seed: of the adapters' first matrices; torch's default generator is left alone.

    Raises:
        ConfigError: a target is not there, is no linear layer, or is the head that shares the embeddings.
    """
    if not settings.lora_rank:
        return
    from peft import LoraConfig, inject_adapter_in_model  # importing peft takes a second

    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets) or "all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=Path(model.name_or_path).name,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model, adapter_name=_NAME)
        except ValueError as error:
            raise ConfigError(f"--lora-targets {' '.join(settings.lora_targets)}: {error}") from error
    config.target_modules = sorted(config.target_modules)  # a set has another order in every process
    _require_linear(model)


def has_adapter(model: nn.Module) -> bool:
    """Whether ``add_adapter`` put adapters into the model."""
    return hasattr(model, "peft_config")


def without_adapter(model: Model) -> Model:
    """The model as it was before its adapters: other modules on the very same frozen weights, nothing copied."""
    return _plain(model, merge=False)


def merged(model: Model) -> Model:
    """A plain model that computes what this one does; the model itself if it has no adapters.

    Adapted matrices are new, everything else is shared.
    """
    return _plain(model, merge=True) if has_adapter(model) else model


def trained_part(module: nn.Module) -> nn.Module:
    """What a checkpoint must hold: all of the module, or where weights are frozen only those that train, and buffers.

    The parameters are the module's own, so loading into the part loads into the module.
    """
    if all(parameter.requires_grad for parameter in module.parameters()):
        return module
    part = nn.Module()
    for name, tensor in module.state_dict(keep_vars=True).items():
        own = name.replace(".", "/")  # a dot would mean a module inside
        if not isinstance(tensor, nn.Parameter):
            part.register_buffer(own, tensor)
        elif tensor.requires_grad:
            part.register_parameter(own, tensor)
    return part


def save_adapter(model: PreTrainedModel, directory: Path) -> None:
    """Write the adapters in peft's format, and in ``base.json`` the SHA-256 sums of the weights they belong to."""
    from peft import get_peft_model_state_dict

    directory.mkdir(parents=True, exist_ok=True)
    config: Any = model.peft_config[_NAME]
    saved = copy.copy(config)
    saved.inference_mode = True
    saved.save_pretrained(str(directory))
    # Told not to look for embeddings, because it would look on the network.
    tensors = get_peft_model_state_dict(model, adapter_name=_NAME, save_embedding_layers=False)
    save_file(
        {_PEFT_PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        directory / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    sums = {file.name: sha256_of(file) for file in sorted(Path(model.name_or_path).glob("*.safetensors"))}
    (directory / "base.json").write_text(json.dumps(sums, indent=1, sort_keys=True) + "\n")


@torch.no_grad()
def _plain(model: Model, *, merge: bool) -> Model:
    """A second tree of modules without adapters on the first one's parameters."""
    plain = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    for name, layer in list(_adapted_layers(plain)):
        linear = layer.base_layer
        if merge:
            linear.weight = nn.Parameter(linear.weight + layer.get_delta_weight(_NAME), requires_grad=False)
        plain.set_submodule(name, linear)
    vars(plain).pop("peft_config", None)
    return plain


def _adapted_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return ((name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer))


def _require_linear(model: PreTrainedModel) -> None:
    from peft.tuners.lora import Linear

    head = model.get_output_embeddings()
    tied = head is not None and getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    for name, layer in _adapted_layers(model):
        if not isinstance(layer, Linear):
            raise ConfigError(f"--lora-targets: {name} is no linear layer")
        if tied and layer is head:
            raise ConfigError(
                f"--lora-targets: {name} shares its weights with the embeddings; merging would change both"
            )
