"""How many tokens each key used today, summed over all serving replicas.

Counts only; what a key may use is part of its record, and refusing is the serving process's business.
"""

from collections.abc import Mapping
from datetime import date

from feedback import keys
from feedback.client import Ledger

KEEP_S = 40 * 24 * 3600


def add(ledger: Ledger, day: date, tokens: Mapping[str, int]) -> dict[str, int]:
    """Add tokens to the keys' counts of a day (UTC), in one move; return the new counts.

    Raises:
        LedgerUnavailable: it may have been written or not.
    """
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        for key_id, count in tokens.items():
            move.hincrby(keys.usage(day), key_id, count)
        move.expire(keys.usage(day), KEEP_S)
        counts = move.execute()
    return dict(zip(tokens, map(int, counts), strict=False))
