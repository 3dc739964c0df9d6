import itertools
import random
from collections import Counter

import pytest

from sandbox.customers import make_customers
from sandbox.world import USE_CASE_SHARES


def test_customers_differ_but_their_mix_is_the_papers() -> None:
    customers = make_customers(200, 0)
    rng = random.Random(0)

    found = Counter(prompt.task.use_case for each in customers for prompt in itertools.islice(each.prompts(rng), 40))

    assert len({tuple(each.shares.values()) for each in customers}) == len(customers)
    for use_case, share in USE_CASE_SHARES.items():
        assert found[use_case] / found.total() == pytest.approx(share / 99.9, abs=0.03)


def test_some_customers_do_not_consent() -> None:
    consents = [each.consent for each in make_customers(60, 7)]

    assert 0.6 < sum(consents) / len(consents) < 1.0


def test_the_same_seed_makes_the_same_customers() -> None:
    assert make_customers(5, 1) == make_customers(5, 1) != make_customers(5, 2)
