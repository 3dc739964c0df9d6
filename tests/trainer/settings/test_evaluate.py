"""What the settings of evaluate and generate default to and refuse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainer.settings.evaluate import EvaluateSettings, GenerateSettings

GIVEN = {"output": "o", "policy": "p", "prompts": ["q"]}


def test_policies_are_sampled_at_temperature_one_unless_told_otherwise() -> None:
    assert EvaluateSettings.model_validate(GIVEN).temperature == 1.0
    assert GenerateSettings.model_validate(GIVEN).temperature == 1.0
    assert not GenerateSettings.model_validate(GIVEN).greedy


@pytest.mark.parametrize("kind", [EvaluateSettings, GenerateSettings])
def test_unknown_options_are_refused_by_name(kind: type[EvaluateSettings]) -> None:
    with pytest.raises(ValidationError, match="top_p"):
        kind.model_validate(GIVEN | {"top_p": 0.9})
