"""Settings carry the paper's values, are documented and frozen."""

import pytest
from pydantic import BaseModel, ValidationError

from trainer.settings import stages as settings
from trainer.settings.stages import (
    EnsembleSettings,
    PretrainSettings,
    RewardSettings,
    ScoreSettings,
    SftSettings,
    StageSettings,
    StartSettings,
)

STAGES = [PretrainSettings, SftSettings, StartSettings, RewardSettings, EnsembleSettings, ScoreSettings]


@pytest.mark.parametrize("kind", STAGES)
def test_every_field_says_what_it_is(kind: type[BaseModel]) -> None:
    assert [name for name, field in kind.model_fields.items() if not field.description] == []


def test_defaults_are_the_papers() -> None:
    sft = SftSettings(output="o", policy="p", demonstrations=["d"])
    assert (sft.epochs, sft.batch_size, sft.lr, sft.dropout, sft.text) == (16, 32, 9.65e-6, 0.2, [])
    start = StartSettings(output="o", policy="p", demonstrations=["d"])
    assert (start.epochs, start.batch_size, start.lr, start.text_fraction) == (2, 32, 5e-6, 0.1)
    assert "reward_model" not in StartSettings.model_fields
    reward = RewardSettings(output="o", policy="p", preferences=["d"])
    assert (reward.epochs, reward.batch_size, reward.lr) == (1, 64, 9e-6)
    assert (reward.beta1, reward.beta2, reward.max_prompt_tokens, reward.max_completion_tokens) == (
        0.9,
        0.95,
        1024,
        1024,
    )


def test_settings_cannot_be_changed_or_misspelt() -> None:
    found = StageSettings(output="o")
    with pytest.raises(ValidationError):
        found.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        StageSettings(output="o", sede=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (StageSettings, {"seed": -1}),
        (settings.TrainingSettings, {"beta1": 1.0}),
        (settings.TrainingSettings, {"adam_eps": 0}),
        (SftSettings, {"policy": "p", "demonstrations": ["d"], "lr": -1e-5}),
        (RewardSettings, {"preferences": ["p"], "batch_size": 0}),
        (EnsembleSettings, {"preferences": ["p"], "members": 1}),
        (PretrainSettings, {"text": ["t"], "vocab_size": 100}),
    ],
)
def test_impossible_values_are_refused(kind: type[StageSettings], changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate({"output": "o"} | changes)
