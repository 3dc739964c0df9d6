"""Full weights unless a rank is given; what is no rank is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainer.settings.lora import LoraSettings
from trainer.settings.ppo import PpoSettings
from trainer.settings.stages import RewardSettings, SftSettings, StartSettings


def test_full_weights_are_the_default_of_every_stage_that_trains_a_policy() -> None:
    assert LoraSettings().lora_rank == 0
    for kind in (SftSettings, StartSettings, PpoSettings):
        assert LoraSettings.model_fields.keys() <= kind.model_fields.keys()
        assert kind.model_fields["lora_rank"].default == 0
    assert "lora_rank" not in RewardSettings.model_fields


@pytest.mark.parametrize("given", [{"lora_rank": -1}, {"lora_alpha": 0.0}, {"lora_dropout": 1.0}, {"rank": 4}])
def test_impossible_values_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        LoraSettings.model_validate(given)
