"""What PPO's settings default to, derive and refuse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainer.settings.ppo import PpoSettings

GIVEN = {"output": "o", "policy": "p", "prompts": ["q"]}


def test_defaults_are_the_papers() -> None:
    settings = PpoSettings.model_validate(GIVEN | {"pretraining": ["t"]})
    assert settings.iterations == 500
    assert settings.batch_size // settings.minibatches == 64
    assert settings.ptx_per_minibatch == 512
    assert (settings.kl_coef, settings.clip, settings.ptx_coef, settings.ema_decay) == (0.02, 0.2, 27.8, 0.992)
    assert (settings.gamma, settings.gae_lambda, settings.temperature) == (1.0, 0.95, 1.0)
    assert (settings.warmup_iterations, settings.inner_epochs) == (10, 1)


@pytest.mark.parametrize("name", ["top_p", "top_k", "min_p"])
def test_truncated_sampling_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        PpoSettings.model_validate(GIVEN | {name: 0.9})


def test_minibatches_must_divide_the_batch() -> None:
    with pytest.raises(ValidationError, match="batch_size 10 is not a multiple of minibatches 4"):
        PpoSettings.model_validate(GIVEN | {"batch_size": 10, "minibatches": 4})


def test_episodes_must_fill_a_batch() -> None:
    with pytest.raises(ValidationError, match="do not fill one batch"):
        PpoSettings.model_validate(GIVEN | {"episodes": 100})


def test_max_steps_is_counted_in_optimizer_steps() -> None:
    settings = PpoSettings.model_validate(GIVEN | {"max_steps": 17})
    assert settings.iterations == 3


def test_without_text_there_is_no_pretraining_term() -> None:
    assert PpoSettings.model_validate(GIVEN).ptx_per_minibatch == 0
