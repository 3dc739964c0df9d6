import json
from collections.abc import Callable
from pathlib import Path

import pytest

from feedback.artifacts import MANIFEST, sha256_of
from feedback.errors import SwapFailed
from serve.weights import inspect
from tests.serve.conftest import make_policy, spoil

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_policy(tmp_path_factory.mktemp("weights") / "good", 1)


def check(path: Path) -> object:
    return inspect(path, sha256_of(path / MANIFEST))


def edit_json(name: str, **fields: object) -> Callable[[Path], None]:
    """Return a change that sets fields of a JSON file."""

    def change(path: Path) -> None:
        file = path / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))

    return change


def edit_tensor(change_tensor: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    """Return a change of the weights."""

    def change(path: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(path / "model.safetensors")
        change_tensor(tensors)
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})

    return change


def set_nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"][3] = float("nan")


def test_other_weights_of_the_same_model_have_the_same_shape(policy: Path, tmp_path: Path) -> None:
    assert check(policy) == check(make_policy(tmp_path / "other", 2))


def test_the_manifest_must_be_the_registered_one(policy: Path) -> None:
    with pytest.raises(SwapFailed, match="its record says"):
        inspect(policy, "0" * 64)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_changed_byte_anywhere_is_found(policy: Path, tmp_path: Path, name: str) -> None:
    def flip(path: Path) -> None:
        data = bytearray((path / name).read_bytes())
        data[-5] ^= 1
        (path / name).write_bytes(data)

    spoiled = spoil(policy, tmp_path / "spoiled", flip, sealed=False)
    with pytest.raises(SwapFailed, match=f"{name} does not match"):
        check(spoiled)


def test_a_missing_directory_is_a_failed_swap(tmp_path: Path) -> None:
    with pytest.raises(SwapFailed, match="has no manifest"):
        inspect(tmp_path / "nowhere", "0" * 64)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_tensor(set_nan), "not finite"),
        (lambda path: (path / "pytorch_model.bin").write_bytes(b"\x80\x04"), "pytorch_model.bin is refused"),
        (lambda path: (path / "modeling.py").write_text("import os"), "modeling.py is refused"),
        (lambda path: (path / "model.safetensors").unlink(), "has no .safetensors"),
        (lambda path: (path / "model.safetensors").write_bytes(b"nonsense" * 10), "no safetensors file"),
        (lambda path: (path / "config.json").write_text("{"), "no usable policy"),
        (lambda path: (path / "config.json").write_text("[]"), "no JSON object"),
        (lambda path: (path / "tokenizer.json").unlink(), "no usable policy"),
        (edit_json("config.json", auto_map={"AutoModel": "x.Y"}), "auto_map"),
    ],
)
def test_what_could_do_harm_is_refused_even_when_sealed(
    policy: Path, tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    with pytest.raises(SwapFailed, match=reason):
        check(spoil(policy, tmp_path / "spoiled", change))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (edit_json("config.json", rms_norm_eps=0.1), "config"),
        (edit_json("config.json", tie_word_embeddings=False), "config"),
        (edit_json("tokenizer_config.json", eos_token="<pad>"), "tokenizer"),
        (edit_json("tokenizer.json", truncation=None, extra=1), "tokenizer"),
        (lambda path: (path / "chat_template.jinja").write_text("{{ messages }}"), "chat_template"),
        (edit_tensor(lambda tensors: tensors.pop("model.norm.weight")), "tensors"),
        (edit_tensor(lambda t: t.update({"model.norm.weight": torch.ones(32)})), "tensors"),
    ],
)
def test_what_a_reload_would_not_replace_is_part_of_the_shape(
    policy: Path, tmp_path: Path, change: Callable[[Path], None], part: str
) -> None:
    found = inspect(policy, sha256_of(policy / MANIFEST))
    other = spoil(policy, tmp_path / "spoiled", change)
    assert found.differences(inspect(other, sha256_of(other / MANIFEST))) == [part]


def test_the_version_of_transformers_that_wrote_it_does_not_matter(policy: Path, tmp_path: Path) -> None:
    other = spoil(policy, tmp_path / "other", edit_json("config.json", transformers_version="1.0", dtype="bfloat16"))
    assert check(other) == check(policy)
