"""Sample: give waiting comparisons their completions, many requests at a time.

A task carries no ids. It claims comparisons from the ledger until nothing is due or its time is over, so a message that
is lost, repeated or late changes nothing. Claims are kept by a heartbeat; when a worker dies they run out and another
sampler takes them, with newer tokens: one that was only asleep finds its own refused.
"""

import asyncio
import time
from functools import cached_property

import msgspec

from feedback import comparisons, log, places
from feedback.client import Ledger
from feedback.comparisons import Claim
from feedback.errors import DataError, Forbidden, Overloaded, UnknownModel, WhetstoneError
from feedback.ids import new_id
from feedback.metrics import completions_sampled_total
from feedback.records import Comparison, Completion
from workers import mixtures
from workers.sampling import Sampler
from workers.settings import WorkerSettings

MAX_BACKOFF_S = 60.0
FORBIDDEN_DELAY_S = 30.0
NO_MODEL_DELAY_S = 5.0
ALONE_DELAY_S = 1.0
PLACE_S = 2
"""Seconds after which the place of a sampler that died is free; more than one for a while does no harm."""
HEARTBEAT_S = 0.5
AT_FIRST = 4
"""Comparisons that a run begins with; two more for each that ended. Few at a time end sooner than many together, so a
worker that does not live long gets some of them done."""
ALONE_FROM = 3
"""From this attempt on a comparison whose last sampler died is sampled alone: one that kills its process each time
takes no others along."""
GONE, REFUSED, FAILED, SAME = "record gone", "prompt refused", "failed too often", "all the same"
"""Why comparisons are buried."""

logger = log.get(__name__)


def sample(ledger: Ledger, settings: WorkerSettings) -> int:
    """Sample what is due, for at most ``sampling_run_s`` and the requests still in flight; return how many."""
    return asyncio.run(_Run(ledger, settings).go())


class _Run:
    """One sampling task: the claims in its hands, and whether it goes on claiming."""

    def __init__(self, ledger: Ledger, settings: WorkerSettings) -> None:
        self.ledger = ledger
        self.settings = settings
        self.name = new_id("smp")
        self.running: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self.alone: tuple[Claim, Comparison] | None = None
        self.ended = self.completed = 0
        self.stopped = False

    @cached_property
    def sft(self) -> str:
        """The version that ``sft`` stands for during this run."""
        return mixtures.newest_sft(self.ledger)

    async def go(self) -> int:
        place = places.take(self.ledger, self.settings.samplers, self.name, PLACE_S)
        if place is None:
            return 0
        try:
            async with Sampler(self.settings) as sampler:
                await self._work(sampler, place)
        finally:
            places.leave(self.ledger, place, self.name)
        return self.completed

    async def _work(self, sampler: Sampler, place: int) -> None:
        heartbeat_s = min(HEARTBEAT_S, self.settings.claim_s / 3)
        end = time.monotonic() + self.settings.sampling_run_s
        beat = time.monotonic() + heartbeat_s
        try:
            while True:
                if not self.stopped and time.monotonic() < end:
                    self._claim(sampler)
                if self.alone and not self.running:
                    self._start(sampler, *self.alone)
                    self.alone = None
                if not self.running:
                    return
                tasks = [task for _, task in self.running.values()]
                wait_s = max(beat - time.monotonic(), 0)
                await asyncio.wait(tasks, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                self._collect()
                if time.monotonic() >= beat:
                    self._keep(place)
                    beat = time.monotonic() + heartbeat_s
        finally:
            for _, task in self.running.values():
                task.cancel()

    def _claim(self, sampler: Sampler) -> None:
        """Claim as many as there is room for; one that may be dangerous waits until nothing else runs."""
        room = min(self.settings.sampling_in_flight, AT_FIRST + 2 * self.ended) - len(self.running)
        if room <= 0 or self.alone or any(_suspect(claim) for claim, _ in self.running.values()):
            return
        claims = comparisons.claim(self.ledger, room, self.settings.claim_s)
        found = comparisons.get_many(self.ledger, [claim.id for claim in claims])
        for claim, comparison in zip(claims, found, strict=True):
            if comparison is None:
                self._bury(claim, GONE)
            elif claim.attempt > comparisons.MAX_ATTEMPTS:
                self._bury(claim, FAILED, f"{comparisons.MAX_ATTEMPTS} attempts")
            elif not _suspect(claim):
                self._start(sampler, claim, comparison)
            elif self.alone is None:
                self.alone = (claim, comparison)
            else:
                comparisons.postpone(self.ledger, claim.id, ALONE_DELAY_S, token=claim.token, counts=False)

    def _start(self, sampler: Sampler, claim: Claim, comparison: Comparison) -> None:
        self.running[claim.id] = (claim, asyncio.create_task(self._one(sampler, comparison, claim)))

    def _collect(self) -> None:
        """Forget those that ended; an error that is none of ours ends the run."""
        for id, (_, task) in list(self.running.items()):
            if task.done():
                self.ended += 1
                del self.running[id]
                if not task.cancelled():
                    task.result()

    def _keep(self, place: int) -> None:
        """Renew what is held; work on what was lost ends."""
        tokens = {id: claim.token for id, (claim, _) in self.running.items()}
        if self.alone:
            tokens[self.alone[0].id] = self.alone[0].token
        for id in comparisons.keep_claims(self.ledger, tokens, self.settings.claim_s):
            logger.warning("claim lost", comparison=id)
            if id in self.running:
                self.running[id][1].cancel()
            else:
                self.alone = None
        if not places.renew(self.ledger, place, self.name, PLACE_S):
            self.stopped = True

    async def _one(self, sampler: Sampler, comparison: Comparison, claim: Claim) -> None:
        """Sample one comparison and store the result, or put it off, or bury it."""
        try:
            async with asyncio.timeout(self.settings.sampling_attempt_s):
                completions = await self._sampled(sampler, comparison, claim)
            self._store(comparison, claim, completions)
        except TimeoutError:
            self._put_off(claim, MAX_BACKOFF_S / 4, f"no answer in {self.settings.sampling_attempt_s:g} s")
        except Overloaded as error:
            self._put_off(claim, error.retry_after_s, str(error))
        except Forbidden as error:
            self._put_off(claim, FORBIDDEN_DELAY_S, str(error))
        except DataError as error:
            self._bury(claim, REFUSED, str(error))
        except UnknownModel as error:
            if comparison.purpose == "evaluation":
                self._failed(claim, error)
            else:  # live points nowhere yet
                self._put_off(claim, NO_MODEL_DELAY_S, str(error))
        except WhetstoneError as error:
            self._failed(claim, error)

    async def _sampled(self, sampler: Sampler, comparison: Comparison, claim: Claim) -> list[Completion]:
        if comparison.purpose == "evaluation":
            return await sampler.sample_each(comparison, claim.attempt)
        models = comparison.models
        if mixtures.SFT in models:
            models = mixtures.resolved(models, self.sft)
        return await sampler.sample(comparison, claim.attempt, models)

    def _store(self, comparison: Comparison, claim: Claim, completions: list[Completion]) -> None:
        """Open a comparison of what is different; equal answers of two policies are a tie that nobody need judge."""
        shown = True
        if comparison.purpose == "evaluation":
            shown = len({completion.text.strip() for completion in completions}) > 1
        elif len(completions) < 2:
            self._bury(claim, SAME, "nothing to rank")
            return
        fitted = msgspec.structs.replace(comparison, k=len(completions))
        if not comparisons.complete(self.ledger, fitted, completions, token=claim.token, shown=shown):
            logger.warning("claim lost", comparison=claim.id)
            return
        self.completed += 1
        for completion in completions:
            completions_sampled_total.labels(version=completion.policy_version).inc()

    def _bury(self, claim: Claim, reason: str, detail: str = "") -> None:
        logger.warning("comparison buried", comparison=claim.id, reason=reason, detail=detail)
        comparisons.bury(self.ledger, claim.id, reason, detail, token=claim.token)

    def _failed(self, claim: Claim, error: WhetstoneError) -> None:
        """Give a comparison back for another attempt, later each time."""
        logger.warning("sampling failed", comparison=claim.id, attempt=claim.attempt, error=str(error))
        delay_s = min(2.0**claim.attempt, MAX_BACKOFF_S)
        comparisons.postpone(self.ledger, claim.id, delay_s, token=claim.token, counts=True)

    def _put_off(self, claim: Claim, delay_s: float, why: str) -> None:
        """Give a comparison back because of something that is not its fault, and claim no more in this run."""
        if not self.stopped:
            logger.warning("sampling paused", delay_s=delay_s, error=why)
        self.stopped = True
        comparisons.postpone(self.ledger, claim.id, delay_s, token=claim.token, counts=False)


def _suspect(claim: Claim) -> bool:
    return claim.abandoned and claim.attempt >= ALONE_FROM
