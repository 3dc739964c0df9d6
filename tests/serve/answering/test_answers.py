"""Answers: found before and after the ledger has them, by their owner only."""

from pathlib import Path

import pytest

from feedback import interactions
from feedback.client import Ledger
from feedback.errors import NotFound
from feedback.records import ApiKey, utc_now
from serve.answering import answers
from tests.builders import make_interaction
from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
KEY = ApiKey(id="key_1", role="client", owner="acme", secret_sha256="", created_at=utc_now())


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path)


def test_an_answer_is_found_on_its_way_and_in_the_ledger(world: World) -> None:
    interaction = make_interaction()
    world.recorder.held[interaction.id] = interaction
    assert answers.own(world.deps, interaction.id, KEY) == interaction
    interactions.append(world.ledger, interaction)
    world.recorder.held.clear()
    assert answers.own(world.deps, interaction.id, KEY) == interaction


def test_an_answer_of_somebody_else_is_not_found(world: World) -> None:
    interaction = make_interaction(customer="bob")
    interactions.append(world.ledger, interaction)
    with pytest.raises(NotFound):
        answers.own(world.deps, interaction.id, KEY)


def test_ids_of_two_owners_never_meet() -> None:
    assert answers.own_id("rat", "ada", "1") != answers.own_id("rat", "bob", "1")
    assert answers.own_id("rat", "ada", "1") == answers.own_id("rat", "ada", "1")
