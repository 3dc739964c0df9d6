"""vLLM behind `serve.engines.base.Engine`: the only module of serving that imports vLLM.

One `VllmEngine` is one AsyncLLM (its core and worker are child processes) with vLLM's own OpenAI application built on
top. Written against vLLM 0.32; most of what is used is internal there, so the version is pinned.
"""

import asyncio
import math
import multiprocessing
from argparse import Namespace
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from starlette.types import ASGIApp

from feedback.errors import EngineError
from feedback.ids import new_id
from feedback.records import Message
from serve.engines import streams
from serve.engines.arguments import arguments
from serve.engines.base import TRANSCRIPTS, Token, Transcript
from serve.settings import ServeSettings

# isort: split
# vLLM comes after `serve.engines.arguments`, which sets what it reads when it is imported.
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.openai.models.protocol import BaseModelPath
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.usage.usage_lib import UsageContext
from vllm.utils.gc_utils import freeze_gc_heap
from vllm.utils.system_utils import kill_process_tree
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.loggers import PrometheusStatLogger
from vllm.v1.metrics.perf import PerfMetricsProm

RESET_RETRY_S = 0.02
"""Pause between two attempts to empty the prefix cache while an aborted request still holds blocks."""

DEAD_S = 0.1
"""Pause between two looks at whether the engine died during a load."""

PROBE_PRIORITY = -1
"""Before everybody else's, whose priority is 0 or more: a probe must not queue behind customers."""

SHUTDOWN_S = 15.0
"""Seconds that an engine's processes get to end by themselves; they need about 3, more on a busy machine."""


class WatchedLLM(AsyncLLM):  # type: ignore[misc]  # vLLM is untyped here
    """AsyncLLM that notes what it says in the `Transcript`s of the calling context."""

    progress = 0
    """How many outputs were given, to anybody."""

    async def generate(self, prompt: Any, sampling: Any, request_id: str, **options: Any) -> AsyncGenerator[Any, None]:
        """Yield what AsyncLLM yields, unchanged."""
        transcripts = TRANSCRIPTS.get()
        place = _place(request_id)
        async for output in super().generate(prompt, sampling, request_id, **options):
            self.progress += 1
            if transcripts is not None:
                _note(transcripts[place], output)
            yield output


def _place(request_id: str) -> int:
    """Return which prompt of its request this is; vLLM appends it to a completion's id (``cmpl-<id>-<place>``)."""
    parts = request_id.split("-")
    return int(parts[2]) if len(parts) == 3 else 0


def _note(transcript: Transcript, output: Any) -> None:
    if output.prompt_token_ids is not None:
        transcript.prompt_tokens = len(output.prompt_token_ids)
    for answer in output.outputs:
        transcript.sampled_tokens += len(answer.token_ids)
        for span in answer.weight_versions or ():
            transcript.versions.add(span.version)
        if answer.index == 0:
            transcript.text += answer.text
            transcript.completion_tokens += len(answer.token_ids)
            transcript.finish_reason = answer.finish_reason or transcript.finish_reason


class VllmEngine:
    """One vLLM engine and its OpenAI application."""

    def __init__(self, llm: WatchedLLM, app: Any, registry: CollectorRegistry, version: str) -> None:
        self._llm = llm
        self._app = app
        self._registry = registry
        self._closed = self._killed = False
        self._rename(version)

    @classmethod
    async def start(cls, settings: ServeSettings, path: Path, version: str) -> "VllmEngine":
        """Return an engine that holds the policy under ``path``; takes from seconds to minutes.

        Raises:
            EngineError: it did not come up; says why.
        """
        args = arguments(settings, path, version)
        registry = CollectorRegistry()
        try:
            async with asyncio.timeout(settings.engine_start_s):
                llm = await _build_in_thread(args, registry)
                tasks = await llm.get_supported_tasks()
                app = build_app(args, tasks, llm.model_config)
                app.user_middleware.clear()  # CORS and HTTP metrics are the front's; each costs an await a chunk
                await init_app_state(llm, app.state, args, tasks)
                streams.install(app.state.openai_serving_chat)
                app.state.server = SimpleNamespace(should_exit=False)  # told to exit when the engine dies; we restart
                await llm.update_weight_version(version)
                freeze_gc_heap()  # or each full collection walks all of torch and vLLM: stalls of 100 ms, measured
        except TimeoutError as error:
            raise EngineError(f"vLLM did not come up within {settings.engine_start_s:g} s") from error
        except Exception as error:
            raise EngineError(f"vLLM did not start on {path}: {_one_line(error)}") from error
        return cls(llm, app, registry, version)

    @property
    def app(self) -> ASGIApp:
        """See `Engine.app`."""
        return self._app  # type: ignore[no-any-return]  # FastAPI is an ASGI application

    @property
    def dead(self) -> bool:
        """See `Engine.dead`."""
        return self._closed or self._killed or bool(self._llm.errored)

    @property
    def progress(self) -> int:
        """See `Engine.progress`."""
        return self._llm.progress

    @cached_property
    def controls(self) -> frozenset[str]:
        """See `Engine.controls`."""
        tokenizer = self._llm.renderer.tokenizer
        added = {str(token): token.special for token in getattr(tokenizer, "added_tokens_decoder", {}).values()}
        template = str(getattr(tokenizer, "chat_template", None) or "")
        used = {token for token, special in added.items() if special or token in template}
        return frozenset(used | set(getattr(tokenizer, "all_special_tokens", ())))

    @cached_property
    def tokenizer_path(self) -> Path:
        """See `Engine.tokenizer_path`."""
        return Path(self._llm.renderer.tokenizer.name_or_path)

    async def load(self, path: Path, version: str, deadline_s: float) -> None:
        """See `Engine.load`."""
        loading = asyncio.create_task(self._load(path, version, deadline_s))
        try:
            while not loading.done() and not self.dead:  # vLLM never ends a call to an engine that dies under it
                await asyncio.wait([loading], timeout=DEAD_S)
            if not loading.done():
                raise EngineError(f"the engine died while it loaded {path}")
            loading.result()
        except TimeoutError as error:
            raise EngineError(f"the engine was not idle within {deadline_s:g} s") from error
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"vLLM did not load {path}: {_one_line(error)}") from error
        finally:
            loading.cancel()
        self._rename(version)

    async def _load(self, path: Path, version: str, deadline_s: float) -> None:
        async with asyncio.timeout(deadline_s):
            while not await self._llm.reset_prefix_cache():
                await asyncio.sleep(RESET_RETRY_S)
        await self._llm.collective_rpc("policy_reload", args=(str(path),))
        if not await self._llm.reset_prefix_cache():
            raise EngineError("the prefix cache was not emptied; a request got in during the load")
        await self._llm.update_weight_version(version)

    def _rename(self, version: str) -> None:
        """Serve under exactly ``version``; vLLM's registry and handlers share this one list."""
        paths = self._app.state.openai_serving_models.base_model_paths
        paths[:] = [BaseModelPath(name=version, model_path=version)]

    async def greedy(self, prompt: list[Message] | list[int], max_tokens: int) -> list[Token]:
        """See `Engine.greedy`."""
        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=max_tokens,
            logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            final = None
            request = {"prompt_token_ids": self._token_ids(prompt)}
            async for output in self._llm.generate(request, sampling, new_id("probe"), priority=PROBE_PRIORITY):
                final = output
        except Exception as error:
            raise EngineError(f"vLLM could not generate: {error}") from error
        if final is None:
            raise EngineError("vLLM generated nothing")
        answer = final.outputs[0]
        tokens = [
            Token(id=id, logprob=float(at[id].logprob))
            for id, at in zip(answer.token_ids, answer.logprobs or [], strict=True)
        ]
        if not tokens or not all(math.isfinite(token.logprob) for token in tokens):
            raise EngineError("vLLM generated no token with a finite log-probability")
        return tokens

    def _token_ids(self, prompt: list[Message] | list[int]) -> list[int]:
        if all(isinstance(part, int) for part in prompt):
            return [int(part) for part in prompt]  # type: ignore[arg-type]  # checked on the line above
        turns = [{"role": turn.role, "content": turn.content} for turn in prompt]  # type: ignore[union-attr]
        tokenizer = self._llm.renderer.tokenizer
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return list(tokenizer.encode(text, add_special_tokens=False))

    def metrics(self) -> Iterable[Metric]:
        """See `Engine.metrics`."""
        return self._registry.collect()

    async def kill(self) -> None:
        """See `Engine.kill`."""
        self._killed = True
        manager = self._llm.engine_core.resources.engine_manager
        for process in manager.processes if manager is not None else ():
            if process.pid is not None:
                await asyncio.to_thread(kill_process_tree, process.pid)

    async def close(self) -> None:
        """See `Engine.close`."""
        if not self._closed:
            self._closed = True
            if self._llm.output_handler is not None:
                self._llm.output_handler.cancel()  # it would report the end that we ask for as a fault
            self._llm.output_processor.propagate_error(EngineDeadError())  # nobody else tells those who wait
            with suppress(Exception):  # its processes may be gone already
                await asyncio.to_thread(self._llm.shutdown, SHUTDOWN_S)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


async def _build_in_thread(args: Namespace, registry: CollectorRegistry) -> WatchedLLM:
    """Start the engine's processes without blocking the event loop; when cancelled, leave none behind."""
    others = set(multiprocessing.active_children())
    building = asyncio.create_task(asyncio.to_thread(_build, args, registry))
    try:
        return await asyncio.shield(building)
    except asyncio.CancelledError:
        while not building.done():  # a thread cannot be cancelled, but it fails once its children are gone
            for child in set(multiprocessing.active_children()) - others:
                child.kill()
            await asyncio.sleep(0.1)
        if building.exception() is None:
            await asyncio.to_thread(building.result().shutdown, SHUTDOWN_S)
        raise


def _build(args: Namespace, registry: CollectorRegistry) -> WatchedLLM:
    """Start the engine's processes; blocks until they answer."""
    engine_args = AsyncEngineArgs.from_cli_args(args)
    engine_args.worker_extension_cls = "serve.engines.worker_extension.PolicyReload"
    config = engine_args.create_engine_config(UsageContext.OPENAI_API_SERVER)
    llm: WatchedLLM = WatchedLLM.from_vllm_config(
        config,
        usage_context=UsageContext.OPENAI_API_SERVER,
        stat_loggers=[_stat_logger(registry)],
    )
    return llm


def _stat_logger(registry: CollectorRegistry) -> type[PrometheusStatLogger]:
    """Return vLLM's Prometheus logger bound to a registry of our own.

    On the global registry, the second engine of a process would unregister the first one's metrics.
    """
    counter, gauge, histogram = (partial(kind, registry=registry) for kind in (Counter, Gauge, Histogram))

    class SlotPerfMetrics(PerfMetricsProm):  # type: ignore[misc]  # vLLM is untyped here
        _counter_cls = staticmethod(counter)

    class SlotStatLogger(PrometheusStatLogger):  # type: ignore[misc]  # vLLM is untyped here
        _counter_cls = staticmethod(counter)
        _gauge_cls = staticmethod(gauge)
        _histogram_cls = staticmethod(histogram)
        _perf_metrics_cls = SlotPerfMetrics

    return SlotStatLogger
