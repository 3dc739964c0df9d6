"""Limits of what is read."""

from trainer.data.examples import Limits


def test_limits_shrink_to_the_models_context() -> None:
    assert Limits(prompt_tokens=1024, completion_tokens=1024).within(512) == Limits(
        prompt_tokens=256, completion_tokens=256
    )
    assert Limits(prompt_tokens=900, completion_tokens=64).within(512) == Limits(
        prompt_tokens=448, completion_tokens=64
    )
    assert Limits().within(None) == Limits()
