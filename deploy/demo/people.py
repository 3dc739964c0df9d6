"""The people of the demonstration: customers, labelers, an operator, and the keys that they hold."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from feedback import access
from feedback.client import Ledger
from feedback.curation import Rules, split_of
from feedback.records import Comparison
from sandbox.agents import Question
from sandbox.customers import Customer, make_customers
from sandbox.labelers import Labeler, make_labelers, noise_ceiling

CUSTOMERS = 60
TRAFFIC_PROMPTS = 24
SEED = 7


@dataclass(kw_only=True)
class People:
    """Everybody who acts, with their secrets.

    Attributes:
        customers: each with a key.
        labelers: each with a key and the queues that they work on, most urgent first.
        operator_secret: key of the operator.
        traffic_secret: key of the streams that flow during swaps; its prompts are not logged.
        traffic_prompts: what these streams ask.
    """

    customers: list[tuple[Customer, str]]
    labelers: list[tuple[Labeler, str, tuple[str, ...]]]
    operator_secret: str
    traffic_secret: str
    traffic_prompts: list[str]

    def __post_init__(self) -> None:
        """Begin the customers' questions."""
        self._asked: set[str] = set()
        self._turns = self._take_turns()

    @classmethod
    def hire(cls, ledger: Ledger) -> People:
        """Make people and their keys."""
        customers = make_customers(CUSTOMERS, SEED)
        return cls(
            customers=[
                (each, access.create(ledger, "client", each.name, consent=each.consent)[0]) for each in customers
            ],
            labelers=[
                (each, access.create(ledger, "labeler", each.name, group=each.group)[0], queues_of(each.group))
                for each in make_labelers(SEED)
            ],
            operator_secret=access.create(ledger, "operator", "demo-operator")[0],
            traffic_secret=access.create(ledger, "client", "demo-traffic", consent=False)[0],
            traffic_prompts=list(itertools.islice(different(customers, random.Random("traffic")), TRAFFIC_PROMPTS)),
        )

    def questions(self, count: int) -> Iterator[Question]:
        """Yield the next ``count`` prompts, customers taking turns; no text comes twice."""
        return itertools.islice(self._turns, count)

    def held_out_prompts(self, count: int) -> list[str]:
        """Return ``count`` different prompts of customers whose prompts nothing ever trains on, none asked before."""
        held_out = [each for each, _ in self.customers if split_of(each.name, Rules()) == "test"]
        fresh = (text for text in different(held_out, random.Random("held out")) if text not in self._asked)
        return list(itertools.islice(fresh, count))

    def noise_ceiling(self, compared: Sequence[Comparison]) -> dict[str, float]:
        """Return, by group, the accuracy that a perfect judge of these comparisons would reach against noisy labels."""
        shown = [
            (each.messages[-1].content, [(one.text, one.finished) for one in each.completions]) for each in compared
        ]
        groups = {each.group for each, *_ in self.labelers}
        return {
            group: round(
                noise_ceiling([one for one, *_ in self.labelers if one.group == group], shown, random.Random(0)), 4
            )
            for group in sorted(groups)
            if shown
        }

    def _take_turns(self) -> Iterator[Question]:
        streams = [(each, secret, each.prompts(random.Random(f"ask:{each.name}"))) for each, secret in self.customers]
        for customer, secret, prompts in itertools.cycle(streams):
            text = next(prompt.text for prompt in prompts if prompt.text not in self._asked)
            self._asked.add(text)
            yield Question(customer=customer, secret=secret, text=text)


def different(customers: Sequence[Customer], rng: random.Random) -> Iterator[str]:
    """Yield prompts of the customers in turn, none twice."""
    seen: set[str] = set()
    streams = [each.prompts(rng) for each in customers]
    for prompts in itertools.cycle(streams):
        text = next(prompt.text for prompt in prompts if prompt.text not in seen)
        seen.add(text)
        yield text


def queues_of(group: str) -> tuple[str, ...]:
    """Return the queues that a labeler of this group works on, most urgent first."""
    return ("agreement",) if group == "held-out" else ("demonstration", "agreement", "training")
