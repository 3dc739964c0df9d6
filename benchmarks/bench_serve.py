"""What does our front cost? The same load on three servers of one model, in turns, with logging on.

``ours`` is ``python -m serve`` as it is deployed: two slots, the second one warm, API keys, every chat recorded through
the spool into a Redis that syncs each write. ``bare`` is vLLM's own OpenAI server with the same arguments. ``litellm``
is a LiteLLM proxy in front of ``bare``. All are up all the time, one is loaded at a time, and the order changes from
round to round, so that what else the machine does meets all alike. Ratios are of loads of the same round.
"""

import argparse
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.common import ROOT, Bar, Server, log, percentile, report
from benchmarks.load import Job, Load, ask, run
from benchmarks.model import POSITIONS, make_model
from benchmarks.peers import litellm_proxy
from deploy.supervisor import Service, Supervisor, free_port
from sandbox.corpus import documents

DIRECTORY = ROOT / "var" / "bench" / "serve"
TOKENS = 64
CONCURRENCIES = (1, 16, 32)
PROMPTS = 600
"""More than any load asks, so that none is asked twice."""
PROMPT_CHARS = 120
GREEDY_PROMPTS = 12
FOREIGN_CORES = 0.1
"""Cores that other programs may have taken during a load; beyond this it is put again."""
TRIES = 6


@dataclass(frozen=True)
class Taken:
    """One load, the processor time that the server's processes took (seconds), and the cores that others took."""

    load: Load
    cpu_s: float
    foreign_cores: float


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
            if foreign <= FOREIGN_CORES:
                break
            log(f"{self.name} x{concurrency}: other programs took {foreign:.2f} cores")
        self.loads.setdefault(concurrency, []).append(Taken(load, own_s, foreign))
        return load


def all_cpu_s() -> float:
    """Return the processor time of everything on this machine but ourselves and our children that have ended."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return float(busy - own.user - own.system - own.children_user - own.children_system)


@contextmanager
def servers(workers: int) -> Iterator[list[Target]]:
    """Start all three, with the same weights, and yield them."""
    model = make_model(DIRECTORY.parent / "model-4m")
    limits = {"WHETSTONE_MAX_MODEL_LEN": str(POSITIONS), "WHETSTONE_MAX_TOKENS": "256", "WHETSTONE_MAX_NUM_SEQS": "64"}
    with Server(DIRECTORY, model=model, extra=limits) as server, Supervisor(DIRECTORY / "peers") as supervisor:
        server.wait_ready(slots=2)
        version = server.versions[0]
        pids = [server.process.pid if server.process else 0, server.redis_pid]
        ours = Target("ours", server.url, version, server.keys["client"], pids)
        log("ours is up")
        port = free_port()
        words = [sys.executable, "-m", "benchmarks.peers.bare", str(server.paths[version]), version, str(port)]
        service = _service("bare", words, port, server.environment)
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


def prompts(seed: int) -> list[str]:
    """Return prompts that no other seed returns."""
    return [text[:PROMPT_CHARS] for text in documents(PROMPTS, seed)]


def check_equal(targets: list[Target]) -> None:
    """Compare greedy answers, asked one at a time.

    Raises:
        SystemExit: two servers answer differently, so their speeds are not comparable.
    """
    for text in prompts(0)[:GREEDY_PROMPTS]:
        answers = {target.name: ask(target.job([text], 1, 1.0)) for target in targets}
        if len(set(answers.values())) != 1:
            raise SystemExit(f"the servers answer differently to {text!r}: {answers}")


def measure(targets: list[Target], rounds: int, seconds: float) -> None:
    """Load all servers in turns; a first round that counts for nothing warms them."""
    for target in targets:
        target.measure(prompts(1), max(CONCURRENCIES), 3.0)
        target.loads.clear()
    for number in range(rounds):
        for place, concurrency in enumerate(CONCURRENCIES):
            wanted = [each for each in targets if each.name != "litellm" or concurrency == max(CONCURRENCIES)]
            turn = (number + place) % len(wanted)
            for target in wanted[turn:] + wanted[:turn]:
                seed = 10 + number * 10 + place + (5 if target.name == "litellm" else 0)  # it shares bare's engine
                load = target.measure(prompts(seed), concurrency, seconds)
                log(f"round {number + 1} {target.name:8} x{concurrency:<3} {load.tokens_per_s:7.0f} tok/s")


def figures_of(target: Target, concurrency: int) -> dict[str, Any]:
    """Return what was measured of one server at one concurrency."""
    taken = target.loads[concurrency]
    rates = [each.load.tokens_per_s for each in taken]
    answers = [answer for each in taken for answer in each.load.good]
    ttft_ms = [answer.ttft_s * 1e3 for answer in answers]
    latency_ms = [answer.latency_s * 1e3 for answer in answers]
    thousands = len(answers) * TOKENS / 1e3
    found = {
        "tokens_per_s": statistics.median(rates),
        "tokens_per_s_range": [min(rates), max(rates)],
        "ttft_ms_p50": percentile(ttft_ms, 50),
        "ttft_ms_p99": percentile(ttft_ms, 99),
        "latency_ms_p50": percentile(latency_ms, 50),
        "latency_ms_p99": percentile(latency_ms, 99),
        "server_cpu_s_per_1k_tokens": sum(each.cpu_s for each in taken) / thousands,
        "client_cpu_s_per_1k_tokens": sum(each.load.client_cpu_s for each in taken) / thousands,
        "foreign_cores_max": max(each.foreign_cores for each in taken),
        "answers": len(answers),
    }
    return {name: _rounded(value) for name, value in found.items()}


def _rounded(value: Any) -> Any:
    return [round(each, 3) for each in value] if isinstance(value, list) else round(value, 4)


def ratios(above: Target, below: Target, concurrency: int) -> list[float]:
    """Return throughput ratios of the loads of the same round."""
    pairs = zip(above.loads[concurrency], below.loads[concurrency], strict=True)
    return [one.load.tokens_per_s / other.load.tokens_per_s for one, other in pairs]


def bars_of(targets: list[Target]) -> tuple[dict[str, Any], list[Bar]]:
    """Return the ratios and the bars that they have to meet."""
    ours, bare, *rest = targets
    found: dict[str, Any] = {}
    bars = []
    for concurrency in CONCURRENCIES:
        paired = ratios(ours, bare, concurrency)
        mine, theirs = figures_of(ours, concurrency), figures_of(bare, concurrency)
        ttft = mine["ttft_ms_p99"] / theirs["ttft_ms_p99"]
        found[f"ours_to_bare_x{concurrency}"] = _rounded(paired)
        bars.append(Bar(f"throughput, ours / bare vLLM, x{concurrency}", statistics.median(paired), ">=", 0.97))
        bars.append(Bar(f"p99 TTFT, ours / bare vLLM, x{concurrency}", ttft, "<=", 1.1))
    for litellm in rest:
        most = max(CONCURRENCIES)
        paired = ratios(ours, litellm, most)
        p99 = figures_of(ours, most)["latency_ms_p99"] / figures_of(litellm, most)["latency_ms_p99"]
        found[f"ours_to_litellm_x{most}"] = _rounded(paired)
        bars.append(Bar(f"throughput, ours / LiteLLM, x{most}", statistics.median(paired), ">=", 2.8))
        bars.append(Bar(f"p99 latency, ours / LiteLLM, x{most}", p99, "<", 1.0))
    return found, bars


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each load")
    parser.add_argument("--workers", type=int, default=1, help="LiteLLM's worker processes; 0 leaves LiteLLM out")
    options = parser.parse_args()
    began = time.monotonic()
    with servers(options.workers) as targets:
        check_equal(targets)
        measure(targets, options.rounds, options.seconds)
        found, bars = bars_of(targets)
    figures = {
        "model": "random Llama, 4.5 million parameters, float32; prompts of 20 to 60 tokens",
        "load": f"streamed chats of {TOKENS} tokens at temperature 0, {options.rounds} rounds of {options.seconds:g} s",
        "litellm_workers": options.workers,
        "seconds": round(time.monotonic() - began),
        "ratios": found,
        "loads": {f"{each.name}_x{at}": figures_of(each, at) for each in targets for at in sorted(each.loads)},
    }
    report("serve", figures, bars)


if __name__ == "__main__":
    main()
