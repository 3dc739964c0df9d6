"""``/livez``, ``/readyz`` and ``/metrics``: what orchestrators and Prometheus ask.

Live means that the process answers and no engine of it is beyond help; ready means that the live slot really generated
a token a moment ago, that the spool takes what is said, and that the process is not about to end. A ledger that is down
makes a process that serves a model degraded, not unready.
"""

import asyncio
import os
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any

import prometheus_client
from fastapi import APIRouter, Request, Response
from starlette.responses import PlainTextResponse

from feedback import (
    comparisons,
    demonstrations,
    interactions,
    labels,
    leases,
    metrics,
    policies,
    prompts,
    queues,
    reviews,
)
from feedback.client import Ledger
from feedback.errors import EngineError, LedgerUnavailable, Overloaded
from serve.dependencies import Dependencies
from serve.door.auth import authenticate
from serve.routes.quality import set_gauges

PING_S = 1.0
"""Seconds that the ledger may take before it counts as down."""
SIZES_S = 5.0
"""Seconds for which the ledger's sizes are reused between scrapes."""


def make_router(deps: Dependencies) -> APIRouter:
    """Return the health and metrics routes."""
    router = APIRouter(tags=["health"])
    readiness = Readiness(deps)
    sizes = Sizes(deps.ledger)

    @router.get("/livez")
    async def live() -> dict[str, str]:
        """Say that the process answers; 503 when an engine hangs that could not be ended."""
        if deps.watchdog.stuck:
            raise EngineError("an engine hangs and could not be ended; only a new process helps")
        return {"status": "live"}

    @router.get("/readyz")
    async def ready() -> dict[str, Any]:
        """Generate one token on the live slot (at most once per few seconds); 503 when that fails.

        `degraded` names what is down without keeping this process from answering.
        """
        return await readiness.check()

    @router.get("/metrics", response_class=PlainTextResponse)
    def scrape(request: Request) -> Response:
        """Return Whetstone's metrics, then those of vLLM and the Python process."""
        if deps.settings.metrics_key_required:
            authenticate(request.headers, ("metrics", "operator"), deps.keys)
        sizes.refresh()
        text = b"".join(map(prometheus_client.generate_latest, (metrics.REGISTRY, prometheus_client.REGISTRY)))
        return Response(text, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

    return router


class Readiness:
    """The outcome of the last look, reused for a few seconds so that probes cannot become a load."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._failure: EngineError | LedgerUnavailable | Overloaded | None = None
        self._degraded: list[str] = []

    async def check(self) -> dict[str, Any]:
        """Return that this process is ready.

        Raises:
            EngineError: the live slot generated nothing.
            LedgerUnavailable: this process serves no model, and the ledger does not answer.
            Overloaded: the process is about to end, or its spool takes nothing.
        """
        if self._deps.admission.draining:
            raise Overloaded("this process is about to end")
        if self._deps.settings.engine != "none" and not self._deps.traffic.answering:
            raise EngineError("no slot is live")  # at once, whatever the last look said
        async with self._lock:
            if time.monotonic() >= self._until:
                self._failure = None
                try:
                    await self._look()
                except (EngineError, LedgerUnavailable, Overloaded) as error:
                    self._failure = error
                self._until = time.monotonic() + self._deps.settings.ready_cache_s
            if self._failure is not None:
                raise type(self._failure)(str(self._failure))
        return {"status": "ready", "degraded": self._degraded}

    async def _look(self) -> None:
        settings, ping = self._deps.settings, asyncio.to_thread(self._deps.ledger.ping)
        if settings.engine == "none":
            await ping
            return
        looks = (
            self._deps.traffic.probe(),
            asyncio.to_thread(try_to_write, settings.spool_root / settings.replica),
            asyncio.wait_for(ping, PING_S),
        )
        slot, spool, ledger = await asyncio.gather(*looks, return_exceptions=True)
        self._degraded = ["ledger"] if isinstance(ledger, LedgerUnavailable | TimeoutError) else []
        if isinstance(spool, OSError):
            raise Overloaded("the spool cannot be written") from spool
        if isinstance(slot, BaseException):
            raise slot


def try_to_write(directory: Path) -> None:
    """Write a file to ``directory`` and remove it.

    Raises:
        OSError: the directory is gone, read-only or full.
    """
    with NamedTemporaryFile(dir=directory, prefix=".ready-") as file:
        file.write(b"ready")
        file.flush()
        os.fsync(file.fileno())


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
                for reason, count in comparisons.buried(self._ledger).items():
                    metrics.comparisons_buried.labels(reason).set(count)
                set_gauges(self._ledger)
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
        "waiting_review": reviews.open_count(ledger),
        **{
            f"waiting_{queue}": leases.waiting(ledger, queue)
            for queue in (*queues.configs(ledger), queues.DEMONSTRATION)
        },
    }
