"""The versions that people may pick: loaded ones, since when they are live, candidates for operators only."""

from typing import TYPE_CHECKING

import pytest

from feedback import policies, promotion
from serve.routes import versions
from tests.builders import make_policy
from tests.serve.routes.conftest import SlotState

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
ALIASES = {"live": "policy-0001", "candidate": "policy-0002"}


class Loaded:
    """Traffic with a live policy and a candidate."""

    def names(self) -> list[str]:
        return [*ALIASES, *ALIASES.values()]

    def choose(self, name: str) -> SlotState:
        return SlotState("a", ALIASES.get(name, name), "ready", 0)


@pytest.mark.parametrize(("role", "shown"), [("client", ["policy-0001"]), ("operator", ["policy-0002", "policy-0001"])])
def test_candidates_are_listed_for_operators_only(world: "World", role: str, shown: list[str]) -> None:
    object.__setattr__(world.deps, "traffic", Loaded())
    world.app.include_router(versions.make_router(world.deps))
    policies.register(world.ledger, make_policy("policy-0001"))
    promotion.promote(world.ledger, "policy-0001", "olga")
    answer = world.call("GET", "/v1/versions", role=role)
    assert answer.status_code == 200
    assert [each["version"] for each in answer.json()] == shown
    live = answer.json()[-1]
    assert (live["aliases"], live["promoted_at"] is not None) == (["live"], True)


def test_labelers_have_no_use_for_it(world: "World") -> None:
    world.app.include_router(versions.make_router(world.deps))
    assert world.call("GET", "/v1/versions", role="labeler").status_code == 403
