"""What the worker refuses and what it repacks; a real worker does it in ``test_vllm_sampler.py``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainer.maths.fingerprints import fingerprint
from trainer.rollouts.engine_worker import PolicyReload, require_same, tensor_fingerprints


class Model(nn.Module):
    """Takes weights as vLLM's models do, and remembers which."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.config = SimpleNamespace(tie_word_embeddings=tied)
        self.loaded: dict[str, Tensor] = {}
        self.repacked = 0
        self.lm_head = nn.Module()
        self.lm_head.quant_method = SimpleNamespace(process_weights_after_loading=self.repack)

    def repack(self, head: nn.Module) -> None:
        assert head is self.lm_head
        self.repacked += 1

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        self.loaded = dict(weights)
        return set(self.loaded)


def worker(model: Model, device: str = "cpu") -> PolicyReload:
    made: Any = PolicyReload()
    made.device, made.model_runner = torch.device(device), SimpleNamespace(get_model=lambda: model)
    made.reload_weights = lambda weights_path: None
    return made


def test_a_changed_tensor_changes_its_fingerprint_and_the_reload_names_it(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(4.0), "b": torch.zeros(2, dtype=torch.bfloat16)}
    save_file(tensors, tmp_path / "model.safetensors")
    digests = tensor_fingerprints(tmp_path / "model.safetensors")
    assert digests == {name: fingerprint(tensor) for name, tensor in tensors.items()}
    save_file(tensors | {"b": torch.tensor([0.0, -0.0], dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    assert tensor_fingerprints(tmp_path / "model.safetensors")["a"] == digests["a"]
    with pytest.raises(ValueError, match="damaged on the way: b"):
        PolicyReload().policy_reload(str(tmp_path), digests)


def test_an_update_comes_in_only_with_the_fingerprints_that_were_announced() -> None:
    model = Model(tied=False)
    mine, sent = worker(model), {"a": torch.arange(4.0), "b": torch.ones(2, 3)}
    digests = {name: fingerprint(tensor) for name, tensor in sent.items()}
    wrong = [sent | {"b": torch.ones(2, 3) + 1e-7}, {"a": sent["a"]}, sent | {"c": torch.ones(1)}]
    for update in wrong:
        mine.policy_expect(digests)
        with pytest.raises(ValueError, match="damaged on the way"):
            model.load_weights(update.items())
        assert model.loaded == {}
        assert mine.policy_taken() == 0
    mine.policy_expect(digests)
    assert model.load_weights(iter(sent.items())) == {"a", "b"}
    assert mine.policy_taken() == 2
    assert model.loaded == sent
    assert model.load_weights({}.items()) == set(), "whatever comes later is let in as it was before"


@pytest.mark.parametrize(("tied", "device", "times"), [(True, "cpu", 1), (False, "cpu", 0), (True, "cuda", 0)])
def test_a_tied_head_is_repacked_where_copies_are_kept(tied: bool, device: str, times: int, tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    digests = {"a": fingerprint(torch.ones(2))}
    model = Model(tied=tied)
    assert worker(model, device).policy_reload(str(tmp_path), digests) == 1
    assert model.repacked == times
    native = Model(tied=tied)
    mine = worker(native, device)
    mine.policy_expect(digests)
    native.load_weights({"a": torch.ones(2)}.items())
    assert (mine.policy_taken(), native.repacked) == (1, times)


def test_what_differs_is_named_with_how_much_more() -> None:
    require_same({"a": "1"}, {"a": "1"})
    with pytest.raises(ValueError, match="damaged on the way: b and 2 more"):
        require_same({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"})
