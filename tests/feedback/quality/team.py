"""A team of simulated labelers for tests of the report: rows as the ledger would give them."""

import random
from collections.abc import Mapping
from datetime import timedelta

from feedback.quality.gathering import Facts, Given, Window
from feedback.records import utc_now
from tests.builders import make_comparison, make_label

K = 4
WORDS = [10, 20, 30, 40]


def window(items: int, people: Mapping[str, str], overlap: int = 4, noise: float = 1.0, seed: int = 0) -> Window:
    """Return labels of the last minutes; the truth is the order of the indices, ``people`` maps a name to a habit.

    Habits: ``honest``, ``reverse`` (everything upside down), ``first`` (the order of the page).
    """
    rng = random.Random(seed)
    names, found = list(people), []
    for number in range(items):
        comparison = make_comparison(id=f"cmp_{number:04d}")
        for name in rng.sample(names, min(overlap, len(names))):
            felt = {index: K - index + rng.gauss(0, noise) for index in range(K)}
            order, page = sorted(felt, key=lambda index: -felt[index]), rng.sample(range(K), K)
            ranked = {"honest": order, "reverse": order[::-1], "first": page}[people[name]]
            label = make_label(
                comparison,
                labeler=name,
                ranking=[[index] for index in ranked],
                quality=[7 - 2 * ranked.index(index) for index in range(K)],
                display_order=page,
                active_s=60.0,
                created_at=utc_now() - timedelta(seconds=items - number),
            )
            found.append(Given(label, Facts(WORDS, "training", comparison.id, "en")))
    return Window(found, "1-0")
