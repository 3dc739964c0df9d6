"""How often somebody did something in the present window of time, counted in the ledger for all replicas at once.

Counts; what is too often is decided by the caller.
"""

import time

from feedback import keys
from feedback.client import Ledger

MINUTE_S = 60
DAY_S = 24 * 3600


def add(ledger: Ledger, what: str, who: str, window_s: int) -> tuple[int, float]:
    """Count one more; return how often it was in this window, this time included, and the seconds until it ends.

    Windows begin at multiples of ``window_s`` since 1970, so those of a day begin at midnight UTC.
    """
    now = time.time()
    window = int(now // window_s)
    key = keys.tally(what, who, window)
    with ledger.reach() as client, client.pipeline(transaction=True) as move:
        move.incr(key)
        move.expire(key, window_s)
        count, _ = move.execute()
    return int(count), (window + 1) * window_s - now
