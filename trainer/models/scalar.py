"""Scalar models: a policy's trunk with one number per position; the reward model and the value model.

Knows the head, its zero point and their files; does not know losses, data or optimizers.

Dimension letters: B batch, T tokens, S sequences of a packed row, D width of the residual stream. Masks are 1 at real
tokens.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from feedback.artifacts import write_manifest
from feedback.errors import ArtifactCorrupt, ArtifactMissing
from trainer.data.tokens import first_line, save_tokenizer
from trainer.maths.positions import last_positions, position_ids
from trainer.models.packing import Packed, packed_hidden
from trainer.models.policies import context_tokens, load_transformer

_HEAD_FILE = "scalar_head.safetensors"


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
        return cls(load_transformer(AutoModel, path, dtype)).to(device).eval()

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
        model = cls(load_transformer(AutoModel, directory, dtype))
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

    def score_packed(self, packed: Packed) -> Tensor:
        """Return (S,) float32: the scalar at each sequence's last token, minus ``bias``; a shared prompt is run once.

        Where ``can_pack(trunk)``, the same as ``score`` of the padded sequences, up to rounding.
        """
        return self._scalars(packed_hidden(self.trunk, packed, packed.last_S))

    def of_states(self, states_ND: Tensor) -> Tensor:
        """Return (N,) float32: the scalar of each of the trunk's outputs, minus ``bias``."""
        return self._scalars(states_ND)

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
