"""The limits of a run: the paper's runs have neither a KL budget nor a limit of one iteration's KL."""

import pytest
from pydantic import ValidationError

from trainer.settings.guards import GuardSettings
from trainer.settings.ppo import PpoSettings

GIVEN = {"output": "o", "policy": "p", "prompts": ["q"]}


def test_what_the_paper_does_not_have_is_off() -> None:
    settings = PpoSettings.model_validate(GIVEN)
    assert (settings.kl_budget_nats, settings.max_update_kl_nats, settings.wanted_kl_nats) == (0.0, 0.0, 0.0)


def test_the_coefficient_aims_at_the_budget_or_at_the_target_never_at_both() -> None:
    assert PpoSettings.model_validate(GIVEN | {"kl_budget_nats": 8}).wanted_kl_nats == 8
    assert PpoSettings.model_validate(GIVEN | {"kl_target_nats": 6}).wanted_kl_nats == 6
    with pytest.raises(ValidationError, match="one of them only"):
        PpoSettings.model_validate(GIVEN | {"kl_budget_nats": 8, "kl_target_nats": 6})


@pytest.mark.parametrize("field", ["max_kl_nats", "guard_patience", "max_held_out_fall"])
def test_a_limit_that_would_stop_every_run_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match="greater than"):
        GuardSettings.model_validate({field: 0})
