import json
import os
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from feedback.artifacts import MANIFEST, sha256_of
from feedback.errors import SwapFailed
from serve.swapping.weights import inspect
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


def link_outward(path: Path) -> None:
    (path / "notes.txt").symlink_to("/etc/hostname")


def link_weights_outward(path: Path) -> None:
    outside = path.parent / "outside.safetensors"
    (path / "model.safetensors").rename(outside)
    (path / "model.safetensors").symlink_to(outside)


def link_directory_outward(path: Path) -> None:
    (path / "more").symlink_to("/etc", target_is_directory=True)


def crowd(path: Path) -> None:
    (path / "crowd").mkdir()
    for number in range(1001):
        (path / "crowd" / str(number)).touch()


def zero(tensors: dict[str, torch.Tensor]) -> None:
    for tensor in tensors.values():
        tensor.zero_()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (link_outward, "leads outside"),
        (link_weights_outward, "leads outside"),
        (link_directory_outward, "leads outside"),
        (lambda path: os.mkfifo(path / "pipe"), "is no file"),
        (crowd, "more than 1000 files"),
        (edit_tensor(zero), "all weights"),
        (edit_json("config.json", auto_map={"AutoModel": "evil.Evil"}), "auto_map"),
        (lambda path: (path / "modeling.py").write_text("import os"), "carry no code"),
        (lambda path: shutil.copy(path / "model.safetensors", path / "second.safetensors"), "in another file before"),
    ],
)
def test_what_must_not_be_read_or_cannot_be_meant_is_refused(
    policy: Path, tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    with pytest.raises(SwapFailed, match=reason):
        check(spoil(policy, tmp_path / "bad", change))


def header(length: int, content: bytes = b"{}") -> Callable[[Path], None]:
    """Return a change that makes the weights a header of this length and whatever follows."""
    return lambda path: (path / "model.safetensors").write_bytes(struct.pack("<Q", length) + content) and None


def tensor_at(*offsets: tuple[int, int], dtype: str = "F32") -> Callable[[Path], None]:
    """Return a change that makes the weights two floats, named at these offsets."""
    entries = {f"t{n}": {"dtype": dtype, "shape": [1], "data_offsets": list(at)} for n, at in enumerate(offsets)}
    content = json.dumps(entries).encode()
    return header(len(content), content + bytes(8))


@pytest.mark.parametrize(
    "change",
    [
        header(2**63),
        header(2**64 - 1),
        header(10**9),
        header(2, b"{"),
        header(0, b""),
        tensor_at((0, 4), (2, 6)),
        tensor_at((0, 4), (4, 2**40)),
        tensor_at((0, 4), (4, 8), dtype="F7"),
        lambda path: os.truncate(path / "model.safetensors", (path / "model.safetensors").stat().st_size // 2),
        lambda path: os.truncate(path / "model.safetensors", 0),
    ],
)
def test_a_safetensors_file_that_lies_about_itself_is_refused_without_being_believed(
    policy: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = spoil(policy, tmp_path / "bad", change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SwapFailed, match="is no safetensors file"):
        check(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_a_sparse_giant_is_refused_before_it_is_read(policy: Path, tmp_path: Path) -> None:
    path = spoil(policy, tmp_path / "bad", lambda _: None)
    manifest = sha256_of(path / MANIFEST)
    os.truncate(path / "model.safetensors", 1 << 40)
    started = time.monotonic()
    with pytest.raises(SwapFailed, match="another size"):
        inspect(path, manifest)
    assert time.monotonic() - started < 5


def test_a_manifest_that_names_files_elsewhere_is_refused(policy: Path, tmp_path: Path) -> None:
    path = spoil(policy, tmp_path / "bad", lambda _: None)
    listed = json.loads((path / MANIFEST).read_text())
    listed["files"]["../outside"] = {"sha256": "0" * 64, "bytes": 1}
    (path / MANIFEST).write_text(json.dumps(listed))
    with pytest.raises(SwapFailed, match="outside of the policy"):
        check(path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": []}', '{"files": {"a": 1}}', "no json", '{"files": null}'])
def test_a_manifest_that_is_none_is_refused(policy: Path, tmp_path: Path, text: str) -> None:
    path = spoil(policy, tmp_path / "bad", lambda _: None)
    (path / MANIFEST).write_text(text)
    with pytest.raises(SwapFailed):
        check(path)


def test_a_file_added_after_hashing_is_refused(policy: Path, tmp_path: Path) -> None:
    path = spoil(policy, tmp_path / "bad", lambda _: None)
    (path / "notes.txt").write_text("added")
    with pytest.raises(SwapFailed, match="not listed in the manifest"):
        check(path)
