"""Demonstrations: asked for once, answered once, kept for ever."""

import pytest

from feedback import demonstrations, leases
from feedback.client import Ledger
from feedback.errors import InvalidRecord, LeaseLost
from tests.builders import lease_next, make_demonstration, make_prompt


def test_a_demonstration_is_stored_under_its_lease_and_read_back(ledger: Ledger) -> None:
    prompt = make_prompt()
    demonstrations.request(ledger, prompt)
    lease = lease_next(ledger, queue=demonstrations.QUEUE)
    assert lease.item_id == prompt.id
    made = make_demonstration(prompt)
    assert not demonstrations.submit(ledger, made, lease.token).repeated
    assert demonstrations.submit(ledger, made, lease.token).repeated
    assert [each for _, each in demonstrations.read(ledger)] == [made]
    assert demonstrations.count(ledger) == 1


def test_a_request_is_opened_once_and_for_one_labeler(ledger: Ledger) -> None:
    prompt = make_prompt()
    demonstrations.request(ledger, prompt)
    demonstrations.request(ledger, prompt)
    lease_next(ledger, "lee", queue=demonstrations.QUEUE)
    demonstrations.request(ledger, prompt)
    assert leases.lease(ledger, demonstrations.QUEUE, "ann") is None


@pytest.mark.parametrize("response", ["", "  \n\t", "x" * (demonstrations.MAX_CHARS + 1)])
def test_an_empty_or_endless_response_is_refused_and_the_lease_lives_on(ledger: Ledger, response: str) -> None:
    prompt = make_prompt()
    demonstrations.request(ledger, prompt)
    token = lease_next(ledger, queue=demonstrations.QUEUE).token
    with pytest.raises(InvalidRecord, match="response"):
        demonstrations.submit(ledger, make_demonstration(prompt, response=response), token)
    demonstrations.submit(ledger, make_demonstration(prompt), token)


def test_without_a_lease_nothing_is_stored(ledger: Ledger) -> None:
    with pytest.raises(LeaseLost):
        demonstrations.submit(ledger, make_demonstration(make_prompt()), token=1)
    assert demonstrations.count(ledger) == 0
