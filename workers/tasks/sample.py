"""Sample: give waiting comparisons their completions, many requests at a time.

A task carries no ids. It claims comparisons from the ledger until nothing is due or its time is over, so a message that
is lost, repeated or late changes nothing. A claim is kept by a heartbeat; when a worker dies, its claims run out and
another sampler takes them.
"""

import asyncio
import time

from feedback import comparisons, log
from feedback.client import Ledger
from feedback.errors import DataError, Forbidden, Overloaded, UnknownModel, WhetstoneError
from feedback.ids import is_policy_version, new_id
from feedback.metrics import completions_sampled_total
from feedback.records import Comparison
from workers.sampling import Sampler, fit
from workers.settings import WorkerSettings

MAX_BACKOFF_S = 60.0
FORBIDDEN_DELAY_S = 30.0
NO_MODEL_DELAY_S = 5.0

logger = log.get(__name__)


def sample(ledger: Ledger, settings: WorkerSettings) -> int:
    """Sample what is due, for at most ``sampling_run_s`` and the requests still in flight; return how many."""
    return asyncio.run(_Run(ledger, settings).go())


class _Run:
    """One sampling task: the comparisons in its hands, and whether it goes on claiming."""

    def __init__(self, ledger: Ledger, settings: WorkerSettings) -> None:
        self.ledger = ledger
        self.settings = settings
        self.token = new_id("smp")
        self.claimed: set[str] = set()
        self.completed = 0
        self.stopped = False

    async def go(self) -> int:
        ttl_s = int(self.settings.claim_s) + 1
        place = comparisons.take_place(self.ledger, self.settings.samplers, self.token, ttl_s)
        if place is None:
            return 0
        try:
            async with Sampler(self.settings) as sampler:
                await self._work(sampler, place, ttl_s)
        finally:
            comparisons.leave_place(self.ledger, place, self.token)
        return self.completed

    async def _work(self, sampler: Sampler, place: int, ttl_s: int) -> None:
        running: set[asyncio.Task[None]] = set()
        heartbeat_s = self.settings.claim_s / 3
        end = time.monotonic() + self.settings.sampling_run_s
        beat = time.monotonic() + heartbeat_s
        try:
            while True:
                if not self.stopped and time.monotonic() < end:
                    running |= self._claim(sampler, self.settings.sampling_in_flight - len(running))
                if not running:
                    return
                done, running = await asyncio.wait(
                    running, timeout=max(beat - time.monotonic(), 0), return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                if time.monotonic() >= beat:
                    comparisons.keep_claims(self.ledger, sorted(self.claimed), self.settings.claim_s)
                    comparisons.keep_place(self.ledger, place, self.token, ttl_s)
                    beat = time.monotonic() + heartbeat_s
        finally:
            for task in running:
                task.cancel()

    def _claim(self, sampler: Sampler, most: int) -> set[asyncio.Task[None]]:
        if most <= 0:
            return set()
        claims = comparisons.claim(self.ledger, most, self.settings.claim_s)
        found = comparisons.get_many(self.ledger, [id for id, _ in claims])
        started = set()
        for (id, attempt), comparison in zip(claims, found, strict=True):
            if comparison is None:
                comparisons.bury(self.ledger, id, "its record is gone")
            elif attempt > comparisons.MAX_ATTEMPTS:
                comparisons.bury(self.ledger, id, f"sampling failed {comparisons.MAX_ATTEMPTS} times")
            else:
                self.claimed.add(id)
                started.add(asyncio.create_task(self._one(sampler, comparison, attempt)))
        return started

    async def _one(self, sampler: Sampler, comparison: Comparison, attempt: int) -> None:
        """Sample one comparison and store the result, or put it off, or bury it."""
        try:
            async with asyncio.timeout(self.settings.sampling_attempt_s):
                completions = await sampler.sample(comparison, attempt)
            if comparisons.complete(self.ledger, fit(comparison, completions), completions):
                self.completed += 1
                for completion in completions:
                    completions_sampled_total.labels(version=completion.policy_version).inc()
        except TimeoutError:
            self._put_off(comparison.id, MAX_BACKOFF_S / 4, f"no answer in {self.settings.sampling_attempt_s:g} s")
        except Overloaded as error:
            self._put_off(comparison.id, error.retry_after_s, str(error))
        except Forbidden as error:
            self._put_off(comparison.id, FORBIDDEN_DELAY_S, str(error))
        except DataError as error:
            comparisons.bury(self.ledger, comparison.id, str(error))
        except UnknownModel as error:
            if any(is_policy_version(model) for model in comparison.models):
                self._failed(comparison.id, attempt, error)
            else:  # an alias that points nowhere yet
                self._put_off(comparison.id, NO_MODEL_DELAY_S, str(error))
        except WhetstoneError as error:
            self._failed(comparison.id, attempt, error)
        finally:
            self.claimed.discard(comparison.id)

    def _failed(self, id: str, attempt: int, error: WhetstoneError) -> None:
        """Give a comparison back for another attempt, later each time."""
        logger.warning("sampling failed", comparison=id, attempt=attempt, error=str(error))
        comparisons.postpone(self.ledger, id, min(2.0**attempt, MAX_BACKOFF_S), counts=True)

    def _put_off(self, id: str, delay_s: float, why: str) -> None:
        """Give a comparison back because of something that is not its fault, and claim no more in this run."""
        if not self.stopped:
            logger.warning("sampling paused", delay_s=delay_s, error=why)
        self.stopped = True
        comparisons.postpone(self.ledger, id, delay_s, counts=False)
