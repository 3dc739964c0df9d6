"""Customers: who asks what, for which purpose, in the paper's use-case mix.

They know prompts; they know nothing of answers, policies or the API.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sandbox.world import USE_CASE_SHARES, Prompt, make_prompt

REFUSAL_SHARE: Final = 0.15
"""Share of the customers who do not let their prompts be used for training."""
HABIT: Final = 0.6
"""How much habits differ: a customer asks for each use case between 1 - HABIT and 1 + HABIT times as often as all."""


@dataclass(frozen=True, kw_only=True)
class Customer:
    """One organisation that calls the API.

    Attributes:
        name: unique among all customers.
        consent: whether its prompts may be used for training.
        shares: how often it asks for each use case, as weights.
    """

    name: str
    consent: bool
    shares: Mapping[str, float]

    def prompts(self, rng: random.Random) -> Iterator[Prompt]:
        """An endless stream of this customer's prompts."""
        while True:
            yield make_prompt(rng, shares=self.shares)


def make_customers(count: int, seed: int) -> list[Customer]:
    """``count`` customers whose habits differ and whose mix, on average, is the paper's."""
    rng = random.Random(f"customers:{seed}")
    return [
        Customer(
            name=f"customer-{number:03d}",
            consent=rng.random() >= REFUSAL_SHARE,
            shares={case: share * rng.uniform(1 - HABIT, 1 + HABIT) for case, share in USE_CASE_SHARES.items()},
        )
        for number in range(1, count + 1)
    ]
