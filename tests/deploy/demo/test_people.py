"""The people of the demonstration: keys for everybody, no question twice, held-out customers stay held out."""

from deploy.demo.people import CUSTOMERS, TRAFFIC_PROMPTS, People
from feedback import access
from feedback.client import Ledger
from feedback.curation import Rules, split_of


def test_everybody_gets_a_key_of_their_role(ledger: Ledger) -> None:
    people = People.hire(ledger)
    assert len(people.customers) == CUSTOMERS
    for customer, secret in people.customers:
        key = access.find(ledger, secret)
        assert (key.role, key.owner, key.consent) == ("client", customer.name, customer.consent)
    for labeler, secret, queues in people.labelers:
        key = access.find(ledger, secret)
        assert (key.role, key.owner, key.group) == ("labeler", labeler.name, labeler.group)
        assert queues
    assert access.find(ledger, people.operator_secret).role == "operator"


def test_held_out_labelers_give_no_label_that_trains(ledger: Ledger) -> None:
    groups = {labeler.group: queues for labeler, _, queues in People.hire(ledger).labelers}
    assert set(groups) == {"training", "held-out"}
    assert not {"training", "demonstration"} & set(groups["held-out"])


def test_no_question_is_asked_twice_and_the_next_ones_go_on_from_there(ledger: Ledger) -> None:
    people = People.hire(ledger)
    asked = [question.text for question in [*people.questions(300), *people.questions(300)]]
    assert len(asked) == len(set(asked)) == 600
    assert len({question.customer.name for question in people.questions(CUSTOMERS)}) == CUSTOMERS


def test_prompts_that_policies_are_compared_on_are_of_held_out_customers_and_were_never_asked(ledger: Ledger) -> None:
    people = People.hire(ledger)
    asked = {question.text for question in people.questions(600)}
    prompts = people.held_out_prompts(100)
    assert len(prompts) == len(set(prompts)) == 100
    assert not asked & set(prompts)
    assert any(split_of(customer.name, Rules()) == "test" for customer, _ in people.customers)


def test_the_prompts_of_the_traffic_are_all_different(ledger: Ledger) -> None:
    prompts = People.hire(ledger).traffic_prompts
    assert len(prompts) == len(set(prompts)) == TRAFFIC_PROMPTS
