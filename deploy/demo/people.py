"""The people of the demonstration: customers, labelers, an operator, and the keys that they hold."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from feedback import access
from feedback.client import Ledger
from feedback.curation import Rules, split_of
from sandbox.agents import Question
from sandbox.customers import Customer, make_customers
from sandbox.labelers import Labeler, make_labelers, noise_ceiling

CUSTOMERS = 60
TRAFFIC_PROMPTS = 24
SEED = 7


@dataclass(kw_only=True)
class People:
    """Everybody who acts, with their secrets."""

    customers: list[tuple[Customer, str]]
    labelers: list[tuple[Labeler, str, tuple[str, ...]]]
    operator_secret: str
    traffic_secret: str
    traffic_prompts: list[str]

    @classmethod
    def hire(cls, ledger: Ledger) -> People:
        """Make people and their keys."""
        rng = random.Random(SEED)
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
            traffic_prompts=[
                next(each.prompts(rng)).text for each in itertools.islice(itertools.cycle(customers), TRAFFIC_PROMPTS)
            ],
        )

    def questions(self, count: int) -> Iterator[Question]:
        """Yield the next ``count`` prompts, customers taking turns."""

    def held_out_prompts(self, count: int) -> list[str]:
        """Return ``count`` different prompts of customers whose prompts nothing ever trains on."""

    def noise_ceiling(self) -> dict[str, float]:
        """Return the accuracy that a perfect judge would reach against each group's noisy labels."""


def queues_of(group: str) -> tuple[str, ...]:
    """Return the queues that a labeler of this group works on, most urgent first."""
    return ("agreement",) if group == "held-out" else ("demonstration", "training", "agreement")
