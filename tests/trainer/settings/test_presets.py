"""Presets override defaults, and what is given overrides presets."""

import pytest

from feedback.errors import ConfigError
from trainer.__main__ import STAGES, _settings_class
from trainer.settings.presets import PRESETS, resolve
from trainer.settings.stages import RewardSettings


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
    with pytest.raises(ConfigError, match=r"--preset huge: no such preset, choose from paper, sandbox"):
        resolve("reward", RewardSettings, "huge", {})
    with pytest.raises(ConfigError, match=r"--output is required; --preferences is required"):
        resolve("reward", RewardSettings, "paper", {})
    with pytest.raises(ConfigError, match=r"--batch-size many: .*integer"):
        resolve("reward", RewardSettings, "paper", {"output": "o", "preferences": ["p"], "batch_size": "many"})
