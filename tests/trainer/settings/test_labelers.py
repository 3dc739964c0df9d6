"""Whose preferences: the defaults take all labelers for alike, and weights are named numbers."""

import pytest
from pydantic import ValidationError

from trainer.settings.labelers import LabelerSettings


def test_by_default_all_labelers_are_alike_as_in_the_paper() -> None:
    settings = LabelerSettings()
    assert (settings.labeler_model, settings.condition, settings.weight_of_group) == ("none", "none", {})
    assert settings.exclude_labelers == []


def test_weights_are_named_numbers() -> None:
    given = LabelerSettings(group_weights=["training=1", "customer=0.5", "a=b=2."])
    assert given.weight_of_group == {"training": 1.0, "customer": 0.5, "a=b": 2.0}


@pytest.mark.parametrize("weight", ["training", "=1", "training=-1", "training=nan", "training="])
def test_what_is_no_weight_is_refused_with_an_example(weight: str) -> None:
    with pytest.raises(ValidationError, match="expected GROUP=WEIGHT"):
        LabelerSettings(group_weights=[weight])
