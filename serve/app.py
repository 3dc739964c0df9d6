"""The serving application: builds what the routes need, starts what runs beside them, ends it in order.

The engines start in the background: the process listens at once and says on ``/readyz`` when it can answer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import prometheus_client
from fastapi import FastAPI
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.routing import Route

from feedback.client import Ledger
from feedback.log import get
from serve import errors, openapi
from serve.answering.battles import Battles
from serve.asking.trials import Trials
from serve.dependencies import Dependencies
from serve.door.admission import Admission
from serve.door.idempotency import Answers
from serve.door.keycache import KeyCache, keep_used
from serve.door.middleware import Surround
from serve.door.quotas import Quotas
from serve.engines.base import Engine
from serve.engines.slot import Slot, StartEngine
from serve.pages.reference import make_router as reference_router
from serve.pages.router import make_router as pages_router
from serve.recording.durable import Durable
from serve.recording.memory import Memory
from serve.recording.recorder import Recorder
from serve.recording.relay import RELAY_TIMEOUT_S
from serve.recording.spool import Spool
from serve.routes import (
    account,
    answers,
    battles,
    canary,
    contests,
    exchange,
    feedback,
    guidelines,
    health,
    keys,
    labeling,
    models,
    operations,
    own_answers,
    practice,
    privacy,
    quality,
    queue,
    queues,
    reviews,
    sessions,
    shares,
    versions,
    writing,
)
from serve.routes.completions import PATHS, Completions
from serve.settings import ServeSettings
from serve.swapping.hotswap import HotSwap
from serve.swapping.registry import TIMEOUT_S, Registry
from serve.swapping.traffic import Traffic
from serve.swapping.watchdog import Watchdog

SLOTS = "abcd"
"""Names of the slots."""
USED_S = 60.0
"""Seconds between two notes of when keys were last used."""
ROUTES = (
    labeling,
    answers,
    models,
    versions,
    account,
    sessions,
    keys,
    feedback,
    battles,
    shares,
    queue,
    queues,
    own_answers,
    guidelines,
    practice,
    writing,
    reviews,
    quality,
    exchange,
    operations,
    canary,
    contests,
    privacy,
    health,
)
"""Modules of routes, in the order in which they are looked through: those that are asked most come first."""
log = get(__name__)


def make_app(settings: ServeSettings, ledger: Ledger, spool: Spool) -> FastAPI:
    """Return the application; it opens nothing by itself beyond what its lifespan starts."""
    names = SLOTS[: settings.slots] if settings.engine != "none" else ""
    slots = [Slot(name, _engine_starter(settings)) for name in names]
    traffic, watchdog = Traffic(slots, settings.gate_wait_s), Watchdog(slots, settings.stall_s)
    memory = Memory(spool.directory, settings.without_ledger_s)
    quick = Ledger.of(settings, TIMEOUT_S)
    recorder = _recorder(settings, spool)
    deps = Dependencies(
        settings=settings,
        ledger=ledger,
        traffic=traffic,
        trials=Trials(settings.structured_check_s),
        answers=Answers(),
        watchdog=watchdog,
        durability=Durable(ledger, settings.when_not_durable),
        recorder=recorder,
        keys=KeyCache(quick, settings.key_cache_s, session_idle_s=settings.session_idle_s, memory=memory),
        battles=Battles(ledger, traffic.names, settings.battles_per_day),
        admission=_admission(settings),
        quotas=Quotas(quick, settings.requests_per_minute, settings.tokens_per_day),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = Registry(
            settings.ledger_url, settings.replica, settings.artifact_root, lambda: traffic.slots, memory
        )
        hotswap = HotSwap(settings, registry, traffic, slots)
        collector = SlotMetrics(slots)
        prometheus_client.REGISTRY.register(collector)
        recorder.start()
        importing = asyncio.create_task(_import_engine()) if slots else None
        watching = asyncio.gather(hotswap.run(), watchdog.run())
        counting = asyncio.create_task(deps.quotas.run())
        noting = asyncio.create_task(keep_used(deps.keys, USED_S))
        looking = asyncio.create_task(asyncio.to_thread(deps.durability.look))
        try:
            yield
        finally:
            log.info("stopping")
            for task in (watching, counting, noting, looking):
                task.cancel()
            await asyncio.gather(
                watching, counting, noting, looking, *([importing] if importing else []), return_exceptions=True
            )
            await hotswap.stop()
            await deps.quotas.sync()
            await deps.trials.close()
            await asyncio.to_thread(recorder.close)
            prometheus_client.REGISTRY.unregister(collector)
            log.info("stopped")

    app = FastAPI(
        title="Whetstone",
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.api_reference else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.admission = deps.admission
    errors.install(app)
    app.add_middleware(
        Surround,
        max_body_bytes=settings.max_body_bytes,
        allowed_hosts=settings.allowed_hosts,
        wrong_keys_per_minute=settings.wrong_keys_per_minute,
        body_timeout_s=settings.body_timeout_s,
    )
    for kind, path in PATHS.items():
        app.router.routes.append(Route(path, Completions(deps, kind), methods=["POST"]))
    for module in ROUTES:
        app.include_router(module.make_router(deps))
    app.include_router(pages_router(settings.interaction_days, settings.max_tokens))
    if settings.api_reference:
        app.openapi = cache(lambda: openapi.document(app, settings))  # type: ignore[method-assign]
        app.include_router(reference_router(app.openapi))
    return app


def _admission(settings: ServeSettings) -> Admission:
    running = settings.max_running or settings.max_num_seqs
    waiting = running if settings.max_waiting is None else settings.max_waiting
    return Admission(running, waiting, settings.token_budget)


def _recorder(settings: ServeSettings, spool: Spool) -> Recorder:
    return Recorder(
        spool,
        Ledger(settings.ledger_url, RELAY_TIMEOUT_S),
        wait_s=settings.spool_wait_s,
        when_full=settings.spool_when_full,
        keep_s=settings.interaction_days * 86_400,
        max_age_s=settings.spool_max_age_s,
    )


async def _import_engine() -> Any:
    """Import the adapter in a thread: it takes seconds, and only a process with slots needs it."""
    return await asyncio.to_thread(import_module, "serve.engines.vllm")


def _engine_starter(settings: ServeSettings) -> StartEngine:
    async def start(path: Path, version: str) -> Engine:
        adapter = await _import_engine()
        engine: Engine = await adapter.VllmEngine.start(settings, path, version)
        return engine

    return start


class SlotMetrics(Collector):
    """The engines' own metrics, each sample labelled by its slot and the version that the slot holds."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._slots = list(slots)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the samples of all slots."""
        merged: dict[str, Metric] = {}
        for slot in self._slots:
            for metric in slot.engine.metrics() if slot.engine is not None else ():
                family = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    labels = {key: value for key, value in sample.labels.items() if key not in ("engine", "model_name")}
                    labels |= {"slot": slot.name, "version": slot.version}
                    family.samples.append(sample._replace(labels=labels))
        yield from merged.values()
