"""How many wrong keys one address may try: a count per address and minute, in a table that cannot grow.

Knows addresses as the connection has them, never as a header claims; knows nothing of keys.
"""

import ipaddress
import time
from collections.abc import Callable

WINDOW_S = 60.0
MOST_ADDRESSES = 10_000


class Throttle:
    """Counts failures per address in windows of a minute that begin with the first one."""

    def __init__(
        self, per_minute: int, now: Callable[[], float] = time.monotonic, most_addresses: int = MOST_ADDRESSES
    ) -> None:
        self._per_minute = per_minute
        self._now = now
        self._most_addresses = most_addresses
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, address: str) -> float:
        """Count one failure and return the seconds for which the address has to wait; 0.0 while it is in bounds."""
        place, now = network(address), self._now()
        began, seen = self._windows.get(place, (now, 0))
        if now - began >= WINDOW_S:
            began, seen = now, 0
        if seen == 0:  # begins a window: the table stays in the order in which windows began
            self._windows.pop(place, None)
            self._make_room(now)
        self._windows[place] = began, seen + 1
        return began + WINDOW_S - now if seen >= self._per_minute else 0.0

    def _make_room(self, now: float) -> None:
        """Drop the windows that are over, and the oldest if the table is full all the same."""
        while self._windows:
            oldest = next(iter(self._windows))
            if now - self._windows[oldest][0] < WINDOW_S and len(self._windows) < self._most_addresses:
                return
            del self._windows[oldest]


def network(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 that an IPv6 caller may choose addresses from."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
