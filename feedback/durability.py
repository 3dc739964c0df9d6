"""Durability: whether the ledger keeps what it acknowledges, by its own word.

Reads the configuration of the Redis that is there now. An acknowledged answer survives a kill and a loss of power only
if each write is on disk before it is answered (``appendfsync always``) and nothing is evicted.
"""

from typing import cast

import redis.exceptions

from feedback.client import Ledger

WANTED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}
"""What ``deploy/redis/ledger.conf`` says of it."""


def faults(ledger: Ledger) -> list[str] | None:
    """Return what is set otherwise than it must be, one line each; None if this Redis does not tell.

    Raises:
        LedgerUnavailable: it cannot be reached.
    """
    with ledger.reach() as client:
        try:
            found = cast(dict[str, str], client.config_get(*WANTED))
        except redis.exceptions.NoPermissionError:
            return None
        except redis.exceptions.ResponseError as error:
            if "unknown command" in str(error).lower():
                return None
            raise
    return [f"{name} is {found[name]}, not {value}" for name, value in WANTED.items() if found.get(name) != value]
