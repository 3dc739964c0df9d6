"""Presets override defaults, and what is given overrides presets."""

from pathlib import Path

import pytest

from feedback.errors import ConfigError
from trainer.__main__ import STAGES, _settings_class
from trainer.settings.presets import PRESETS, resolve
from trainer.settings.stages import EnsembleSettings, RewardSettings


def test_given_beats_preset_beats_default() -> None:
    given = {"output": "o", "preferences": ["p"], "policy": "x"}
    paper = resolve("reward", RewardSettings, "paper", given)
    sandbox = resolve("reward", RewardSettings, "sandbox", given)
    own = resolve("reward", RewardSettings, "sandbox", given | {"lr": 0.5})
    assert paper.lr == 9e-6
    assert sandbox.lr == PRESETS["sandbox"]["reward"]["lr"] != paper.lr
    assert own.lr == 0.5
    assert own.batch_size == sandbox.batch_size


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_stages_and_fields_that_exist(preset: str) -> None:
    for stage, values in PRESETS[preset].items():
        assert stage in STAGES
        assert values.keys() <= _settings_class(stage).model_fields.keys()


def test_refusal_names_options_and_values() -> None:
    with pytest.raises(ConfigError, match=r"--preset huge: no such preset, choose from paper, .*small, sandbox"):
        resolve("reward", RewardSettings, "huge", {})
    with pytest.raises(ConfigError, match=r"--output is required; --preferences is required"):
        resolve("reward", RewardSettings, "paper", {})
    with pytest.raises(ConfigError, match=r"--batch-size many: .*integer"):
        resolve("reward", RewardSettings, "paper", {"output": "o", "preferences": ["p"], "batch_size": "many"})


def documented() -> list[list[str]]:
    """Rows of the table of values in docs/training.md, its head first; cells without backticks."""
    text = (Path(__file__).parents[3] / "docs/training.md").read_text()
    section = text.split("## The paper's values", 1)[1].split("\n## ", 1)[0]
    rows = [line[1:-1].replace("`", "").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if "---" not in row[0]]


def test_the_table_in_the_documentation_holds_the_values_that_run() -> None:
    head, *rows = documented()
    presets = head[3:]
    assert set(presets) == PRESETS.keys() - {"paper-1.3b"}, "which differs from paper in bf16 alone"
    assert len(rows) > 30
    for stage, field, _, *cells in rows:
        default = _settings_class(stage).model_fields[field].default
        values = [PRESETS[preset].get(stage, {}).get(field, default) for preset in presets]
        pairs = zip(presets, values, strict=True)
        shown = ["" if preset != "paper" and value == default else f"{value}" for preset, value in pairs]
        assert cells == shown, f"{stage}.{field} should read | {' | '.join(shown)} |"
    named = {(stage, field) for stage, field, *_ in rows}
    for preset in ("paper-6b", "paper-175b", "small"):
        changed = {(s, f) for s in ("sft", "start", "reward", "ppo") for f in PRESETS[preset][s]}
        assert changed <= named, f"{preset} changes what the table does not show: {changed - named}"


def test_members_of_an_ensemble_are_trained_as_a_reward_model_is() -> None:
    for preset in PRESETS:
        one = resolve("reward", RewardSettings, preset, {"output": "o", "policy": "p", "preferences": ["d"]})
        several = resolve("ensemble", EnsembleSettings, preset, {"output": "o", "policy": "p", "preferences": ["d"]})
        different = {name for name in RewardSettings.model_fields if getattr(one, name) != getattr(several, name)}
        assert different == {"bootstrap"}
