"""What one key may use: requests a minute and tokens a day.

The rate is counted here, per replica. Tokens are counted here at once and summed over replicas through the ledger every
few seconds; while that is down each replica goes on with what it knows. Refusing is instant and touches no network.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime

from feedback import metrics, usage
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable, RateLimited
from feedback.records import ApiKey

SYNC_S = 2.0
MAX_KEYS = 10_000
"""Keys whose request rate is remembered; beyond this those that have their full rate again are forgotten."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a key may still do; None where it has no limit."""

    requests_per_minute: int | None
    requests_left: int | None
    tokens_per_day: int | None
    tokens_left_today: int | None


class Quotas:
    """The counts of one serving process; driven from one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        requests_per_minute: int,
        tokens_per_day: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._requests_per_minute = requests_per_minute
        self._tokens_per_day = tokens_per_day
        self._now = now
        self._rates: dict[str, tuple[float, float]] = {}
        """Key id -> (requests left, when that was)."""
        self._day = self._today()
        self._totals: dict[str, int] = {}
        """Key id -> tokens of all replicas in the ledger at the last sync."""
        self._sending: Counter[str] = Counter()
        self._unsent: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()

    def take(self, key: ApiKey, tokens: int) -> None:
        """Count one request of a key and reserve its tokens until `settle`.

        Raises:
            RateLimited: the key sent too many requests this minute, or its tokens of today are used up.
        """
        limit = self._rate_of(key)
        left = self._requests_left(key.id, limit)
        if limit and left < 1:
            metrics.refused_total.labels("requests").inc()
            raise RateLimited(f"your key may send {limit} requests a minute", (1 - left) * 60 / limit)
        daily = key.tokens_per_day or self._tokens_per_day
        if daily and self._used(key.id) + self._reserved[key.id] + tokens > daily:
            metrics.refused_total.labels("tokens").inc()
            raise RateLimited(
                f"your key may use {daily} tokens a day (UTC); {max(0, daily - self._used(key.id))} are left, "
                f"{self._reserved[key.id]} of them reserved by requests that are being answered",
                self._until_midnight_s(),
            )
        if limit:
            self._forget_rates()
            self._rates[key.id] = (left - 1, self._now())
        self._reserved[key.id] += tokens

    def settle(self, key: ApiKey, reserved: int, used: int) -> None:
        """Give back what `take` reserved and count what was used."""
        self._reserved[key.id] -= reserved
        if self._reserved[key.id] <= 0:
            del self._reserved[key.id]
        if used:
            self._unsent[key.id] += used

    def left(self, key: ApiKey) -> Left:
        """Return what the key may still do now."""
        limit, daily = self._rate_of(key), key.tokens_per_day or self._tokens_per_day
        return Left(
            requests_per_minute=limit or None,
            requests_left=int(self._requests_left(key.id, limit)) if limit else None,
            tokens_per_day=daily or None,
            tokens_left_today=max(0, daily - self._used(key.id)) if daily else None,
        )

    async def run(self) -> None:
        """Sum with the other replicas through the ledger until cancelled."""
        while True:
            await asyncio.sleep(SYNC_S)
            await self.sync()

    async def sync(self) -> None:
        """Send what was used since the last time and look up what all replicas used; a ledger that is down waits."""
        day = self._day
        self._sending, self._unsent = self._unsent, Counter()
        known = dict.fromkeys([*self._totals, *self._reserved], 0) | self._sending
        try:
            if known:
                self._totals = await asyncio.to_thread(usage.add, self._ledger, day, known)
        except LedgerUnavailable:
            # Counted again if only the answer was lost: seconds' worth too much rather than an outage's too little.
            self._unsent += self._sending
        self._sending = Counter()
        if self._today() != day:
            self._day = self._today()
            self._totals.clear()

    async def learn(self, key_id: str) -> None:
        """Look up what a key used today before this process started; once per key."""
        if key_id not in self._totals:
            self._totals[key_id] = 0
            with suppress(LedgerUnavailable):
                self._totals |= await asyncio.to_thread(usage.add, self._ledger, self._day, {key_id: 0})

    def _used(self, key_id: str) -> int:
        return self._totals.get(key_id, 0) + self._sending[key_id] + self._unsent[key_id]

    def _rate_of(self, key: ApiKey) -> int:
        return key.requests_per_minute or self._requests_per_minute

    def _requests_left(self, key_id: str, limit: int) -> float:
        left, at = self._rates.get(key_id, (float(limit), self._now()))
        return min(float(limit), left + (self._now() - at) * limit / 60)

    def _forget_rates(self) -> None:
        if len(self._rates) >= MAX_KEYS:
            self._rates = {key_id: rate for key_id, rate in self._rates.items() if self._now() - rate[1] < 60}

    def _today(self) -> date:
        return datetime.fromtimestamp(self._now(), UTC).date()

    def _until_midnight_s(self) -> float:
        return 86_400 - self._now() % 86_400
