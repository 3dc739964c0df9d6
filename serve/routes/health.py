"""``/livez``, ``/readyz`` and ``/metrics``: what orchestrators and Prometheus ask.

Live means that the process answers; ready means that the live slot really generated a token a moment ago.
"""

import asyncio
import time
from threading import Lock
from typing import Any

import prometheus_client
from fastapi import APIRouter, Request, Response

from feedback import comparisons, demonstrations, interactions, labels, leases, metrics, policies, prompts
from feedback.client import Ledger
from feedback.errors import EngineError, LedgerUnavailable
from serve.auth import authenticate
from serve.dependencies import Dependencies

PROBE_S = 10.0
"""Seconds that the live slot may take for one token."""
SIZES_S = 5.0
"""Seconds for which the ledger's sizes are reused between scrapes."""


def make_router(deps: Dependencies) -> APIRouter:
    """Return the health and metrics routes."""
    router = APIRouter(tags=["health"])
    readiness = Readiness(deps)
    sizes = Sizes(deps.ledger)

    @router.get("/livez")
    async def live() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "live"}

    @router.get("/readyz")
    async def ready() -> dict[str, str]:
        """Generate one token on the live slot (at most once per few seconds); 503 when that fails."""
        return await readiness.check()

    @router.get("/metrics")
    def scrape(request: Request) -> Response:
        """Return Whetstone's metrics, then those of vLLM and the Python process."""
        if deps.settings.metrics_key_required:
            authenticate(request.headers, ("metrics", "operator"), deps.keys)
        sizes.refresh()
        text = b"".join(map(prometheus_client.generate_latest, (metrics.REGISTRY, prometheus_client.REGISTRY)))
        return Response(text, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

    return router


class Readiness:
    """The outcome of the last probe, reused for a few seconds so that probes cannot become a load."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._failure: EngineError | LedgerUnavailable | None = None

    async def check(self) -> dict[str, str]:
        """Return that this process is ready.

        Raises:
            EngineError: the live slot generated nothing.
            LedgerUnavailable: this process serves no model, and the ledger does not answer.
        """
        async with self._lock:
            if time.monotonic() >= self._until:
                self._failure = None
                try:
                    await self._probe()
                except (EngineError, LedgerUnavailable) as error:
                    self._failure = error
                self._until = time.monotonic() + self._deps.settings.ready_cache_s
            if self._failure is not None:
                raise type(self._failure)(str(self._failure))
        return {"status": "ready"}

    async def _probe(self) -> None:
        if self._deps.settings.engine == "none":
            await asyncio.to_thread(self._deps.ledger.ping)
        else:
            try:
                await asyncio.wait_for(self._deps.traffic.probe(), PROBE_S)
            except TimeoutError as error:
                raise EngineError(f"the live slot generated nothing within {PROBE_S:g} s") from error


class Sizes:
    """Gauges of what the ledger holds, looked up when scraped and not more often than every few seconds."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = Lock()
        self._until = 0.0

    def refresh(self) -> None:
        """Set the gauges; while the ledger is down its last sizes stay and ``whetstone_ledger_up`` is 0."""
        with self._lock:
            if time.monotonic() < self._until:
                return
            try:
                for kind, size in ledger_sizes(self._ledger).items():
                    metrics.ledger_size.labels(kind).set(size)
                for reason, count in prompts.dropped(self._ledger).items():
                    metrics.prompts_dropped.labels(reason).set(count)
                metrics.ledger_up.set(1)
            except LedgerUnavailable:
                metrics.ledger_up.set(0)
            self._until = time.monotonic() + SIZES_S


def ledger_sizes(ledger: Ledger) -> dict[str, Any]:
    """Return how many records of each kind the ledger holds; each look-up is O(1) or O(policies)."""
    return {
        "interactions": interactions.count(ledger),
        "prompts": prompts.count(ledger),
        "labels": labels.count(ledger),
        "demonstrations": demonstrations.count(ledger),
        "policies": len(policies.list_policies(ledger)),
        "being_sampled": comparisons.being_sampled(ledger),
        **{
            f"waiting_{queue}": leases.waiting(ledger, queue)
            for queue in ("training", "agreement", "evaluation", "demonstration")
        },
    }
