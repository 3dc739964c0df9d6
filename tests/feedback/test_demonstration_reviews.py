"""Reviews of demonstrations: the last word counts, a new revision waits anew."""

import msgspec
import pytest

from feedback import demonstration_reviews as said
from feedback import demonstrations, keys, leases
from feedback.client import Ledger, encode
from feedback.errors import InvalidRecord, NotFound
from feedback.records import Demonstration
from tests.builders import make_demonstration, make_prompt

pytestmark = pytest.mark.redis


def given(ledger: Ledger) -> Demonstration:
    """A demonstration that lee gave under a lease."""
    prompt = make_prompt()
    demonstrations.request(ledger, prompt)
    lease = leases.lease(ledger, demonstrations.QUEUE, "lee")
    assert lease is not None
    made = make_demonstration(prompt)
    demonstrations.submit(ledger, made, lease.token)
    return made


def test_a_demonstration_waits_until_somebody_reviewed_it(ledger: Ledger) -> None:
    made = given(ledger)
    assert said.waiting(ledger) == [made]
    word = said.review(ledger, made.id, "accepted", "olga")
    assert said.waiting(ledger) == []
    assert said.latest(ledger) == {made.id: word}


def test_the_last_word_counts_and_the_same_again_is_not_stored(ledger: Ledger) -> None:
    made = given(ledger)
    first = said.review(ledger, made.id, "rejected", "olga", "wrong")
    assert said.review(ledger, made.id, "rejected", "olga", "wrong") == first
    said.review(ledger, made.id, "accepted", "oleg", "it is right")
    assert said.latest(ledger)[made.id].verdict == "accepted"
    assert len(list(said.read(ledger))) == 2


def test_a_returned_one_needs_a_comment_and_its_new_revision_waits(ledger: Ledger) -> None:
    made = given(ledger)
    with pytest.raises(InvalidRecord, match="say what should change"):
        said.review(ledger, made.id, "returned", "olga")
    said.review(ledger, made.id, "returned", "olga", "shorter, please")
    again = msgspec.structs.replace(made, id="sub_again", response="Pear.", revision=1, revision_of=made.id)
    demonstrations.revise(ledger, again)
    assert said.waiting(ledger) == [again]
    with pytest.raises(NotFound, match="changed it"):
        said.review(ledger, made.id, "accepted", "olga")
    said.review(ledger, again.id, "accepted", "olga")
    assert said.waiting(ledger) == []


def test_those_of_few_shot_prompts_were_accepted_with_their_prompt(ledger: Ledger) -> None:
    made = make_demonstration(make_prompt(), source="few_shot")
    ledger.redis.xadd(keys.DEMONSTRATIONS, {"record": encode(made)})
    assert said.waiting(ledger) == []


def test_what_is_not_there_cannot_be_reviewed(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        said.review(ledger, "sub_nothing", "accepted", "olga")
