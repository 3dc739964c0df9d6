"""The servers that are compared: started with the same weights, loaded one at a time, their processor time counted.

Knows how to start and load them; does not know what is compared.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.common import ROOT, Server, log
from benchmarks.load import Job, Load, run
from benchmarks.peers import litellm_proxy
from deploy.supervisor import Service, Supervisor, free_port

DIRECTORY = ROOT / "var" / "bench" / "serve"
TOKENS = 64
FOREIGN_CORES = 0.1
"""Cores that other programs may have taken during a load; beyond this it is put again."""
TRIES = 3
QUIET_S, LOOK_S = 20.0, 1.0
"""How long to wait for other programs to end before the load is put again, and between two looks."""


@dataclass(frozen=True)
class Taken:
    """One load, the processor time that the server's processes took (seconds), and the cores that others took."""

    load: Load
    cpu_s: float
    foreign_cores: float

    @property
    def disturbed(self) -> bool:
        """True if other programs took so much that the load tells little of the server."""
        return self.foreign_cores > FOREIGN_CORES


@dataclass
class Target:
    """A server that is loaded: how to ask it, and which processes work for it."""

    name: str
    url: str
    model: str
    key: str
    pids: list[int]
    loads: dict[int, list[Taken]] = field(default_factory=dict)
    """What was measured, by concurrency."""

    def job(self, prompts: list[str], concurrency: int, seconds: float) -> Job:
        """Return a load for this server."""
        return Job(
            url=self.url,
            model=self.model,
            key=self.key,
            prompts=prompts,
            concurrency=concurrency,
            seconds=seconds,
            tokens=TOKENS,
        )

    def cpu_s(self) -> float:
        """Return the processor time of all its processes so far."""
        parents = [psutil.Process(pid) for pid in self.pids]
        family = {each for parent in parents for each in (parent, *parent.children(recursive=True))}
        return sum(sum(each.cpu_times()[:2]) for each in family)

    def measure(self, prompts: list[str], concurrency: int, seconds: float) -> Load:
        """Put a load on it and keep what was found; once more if other programs were busy meanwhile.

        Raises:
            SystemExit: an answer failed; speeds of servers that fail are not comparable.
        """
        for _ in range(TRIES):
            before, busy_s, began = self.cpu_s(), all_cpu_s(), time.monotonic()
            load = run(self.job(prompts, concurrency, seconds))
            own_s = self.cpu_s() - before
            foreign = (all_cpu_s() - busy_s - own_s) / (time.monotonic() - began)
            if load.faults:
                raise SystemExit(f"{self.name}: {len(load.faults)} of {len(load.answers)} failed: {load.faults[0]}")
            taken = Taken(load, own_s, foreign)
            if not taken.disturbed:
                break
            log(f"{self.name} x{concurrency}: other programs took {foreign:.2f} cores")
            wait_for_quiet()
        self.loads.setdefault(concurrency, []).append(taken)
        return load


def wait_for_quiet() -> None:
    """Wait until the machine idles while nobody is loaded, but not for ever."""
    until = time.monotonic() + QUIET_S
    while time.monotonic() < until:
        busy_s = all_cpu_s()
        time.sleep(LOOK_S)
        if all_cpu_s() - busy_s <= FOREIGN_CORES * LOOK_S:
            return


def all_cpu_s() -> float:
    """Return the processor time of everything on this machine but ourselves and our children that have ended."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return float(busy - own.user - own.system - own.children_user - own.children_system)


@contextmanager
def servers(model: Path, workers: int) -> Iterator[list[Target]]:
    """Start ours, bare and, if it gets workers, LiteLLM, with the same weights; yield them in this order."""
    positions = json.loads((model / "config.json").read_text())["max_position_embeddings"]
    limits = {"WHETSTONE_MAX_MODEL_LEN": str(positions)}
    with Server(DIRECTORY, model=model, extra=limits) as server, Supervisor(DIRECTORY / "peers") as supervisor:
        server.wait_ready(slots=2)
        version = server.versions[0]
        pids = [server.process.pid if server.process else 0, server.redis_pid]
        ours = Target("ours", server.url, version, server.keys["client"], pids)
        log("ours is up")
        port = free_port()
        words = [sys.executable, "-m", "benchmarks.peers.bare", str(server.paths[version]), version, str(port)]
        # A proxy in front keeps idle connections; the default of 5 s would end them just as it asks again.
        service = _service("bare", words, port, {**server.environment, "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600"})
        _start(supervisor, service)
        bare = Target("bare", f"http://127.0.0.1:{port}", version, "none", [supervisor.pid("bare")])
        targets = [ours, bare]
        if workers:
            targets.append(_litellm(supervisor, bare, workers))
        yield targets


def _litellm(supervisor: Supervisor, bare: Target, workers: int) -> Target:
    port = free_port()
    config = litellm_proxy.write_config(DIRECTORY / "litellm.yaml", bare.url, bare.model)
    words = litellm_proxy.command(ROOT, config, port, workers)
    _start(supervisor, _service("litellm", words, port, litellm_proxy.ENVIRONMENT, "/health/liveliness"))
    url, pids = f"http://127.0.0.1:{port}", [supervisor.pid("litellm"), *bare.pids]
    return Target("litellm", url, litellm_proxy.MODEL, litellm_proxy.KEY, pids)


def _service(name: str, words: list[str], port: int, environment: Mapping[str, str], path: str = "/health") -> Service:
    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return Service(name=name, command=words, environment=environment, ready=ready, ready_s=300.0)


def _start(supervisor: Supervisor, service: Service) -> None:
    supervisor.start(service)
    supervisor.wait(service)
    log(f"{service.name} is up")
