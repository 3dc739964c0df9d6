"""Who the caller is."""

import pytest

from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("role", ["client", "labeler", "operator", "metrics"])
def test_everybody_with_a_key_may_ask_who_they_are(world: World, role: str) -> None:
    found = world.call("GET", "/v1/me", role=role).json()
    assert (found["owner"], found["role"], found["consent"]) == ("ada", role, True)
    assert found["limits"] == {
        "requests_per_minute": None,
        "requests_left": None,
        "tokens_per_day": None,
        "tokens_left_today": None,
    }


def test_nobody_is_told_nothing(world: World) -> None:
    assert world.client.get("/v1/me").status_code == 401
