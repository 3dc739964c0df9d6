"""What does our front cost? The same load on three servers of one model, in turns, with logging on.

``ours`` is ``python -m serve`` as it is deployed: two slots, the second one warm, API keys, every chat recorded through
the spool into a Redis that syncs each write. ``bare`` is vLLM's own OpenAI server with the same arguments. ``litellm``
is a LiteLLM proxy in front of ``bare``. All are up all the time, one is loaded at a time, and the order changes from
round to round, so that what else the machine does meets all alike. Ratios are of loads of the same round. A load during
which other programs were busy is put again, a few times, and left out if they stay busy.

Two models: a random one of 4.5 million parameters, on which an engine spends about what it does on a small real one per
step, for the comparison with ``bare``; and the sandbox's own, on which the engine is so quick that what stands in front
of it is what one measures, as it is on a GPU, for the comparison with ``litellm``.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.common import Bar, log, percentile, report
from benchmarks.load import ask
from benchmarks.model import make_model
from benchmarks.targets import DIRECTORY, TOKENS, Target, servers
from deploy.base import SHIPPED
from sandbox.corpus import END, documents

CONCURRENCIES = (1, 16, 32)
MOST = max(CONCURRENCIES)
PROMPTS = 1000
"""More than any load asks, so that none is asked twice."""
PROMPT_CHARS = 120
GREEDY_PROMPTS = 12
SANDBOX_ROUNDS = 5


def prompts(seed: int) -> list[str]:
    """Return the prompts of one load; another seed gives others, but for the few that a small world repeats."""
    return [text.split(END)[0][:PROMPT_CHARS] for text in documents(PROMPTS, seed)]  # ours takes an END for mere text


def check_equal(targets: list[Target]) -> None:
    """Compare greedy answers, asked one at a time.

    Raises:
        SystemExit: two servers answer differently, so their speeds are not comparable.
    """
    for text in prompts(0)[:GREEDY_PROMPTS]:
        answers = {target.name: ask(target.job([text], 1, 1.0)) for target in targets}
        if len(set(answers.values())) != 1:
            raise SystemExit(f"the servers answer differently to {text!r}: {answers}")


def measure(targets: list[Target], concurrencies: tuple[int, ...], rounds: int, seconds: float) -> None:
    """Load all servers in turns; loads that count for nothing warm them before."""
    for target in targets:
        target.measure(prompts(1), MOST, 3.0)
        target.loads.clear()
    for number in range(rounds):
        for place, concurrency in enumerate(concurrencies):
            wanted = [each for each in targets if each.name != "litellm" or concurrency == MOST]
            turn = (number + place) % len(wanted)
            for target in wanted[turn:] + wanted[:turn]:
                seed = 10 + number * 10 + place + (5 if target.name == "litellm" else 0)  # it shares bare's engine
                load = target.measure(prompts(seed), concurrency, seconds)
                log(f"round {number + 1} {target.name:8} x{concurrency:<3} {load.tokens_per_s:7.0f} tok/s")


def figures_of(target: Target, concurrency: int) -> dict[str, Any]:
    """Return what was measured of one server at one concurrency, in undisturbed loads if there are any."""
    everything = target.loads[concurrency]
    taken = [each for each in everything if not each.disturbed] or everything
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
        "foreign_cores_max": max(each.foreign_cores for each in everything),
        "loads": len(everything),
        "disturbed": sum(each.disturbed for each in everything),
        "answers": len(answers),
    }
    return {name: _rounded(value) for name, value in found.items()}


def _rounded(value: Any) -> Any:
    return [round(each, 3) for each in value] if isinstance(value, list) else round(value, 4)


def ratios(above: Target, below: Target, concurrency: int) -> list[float]:
    """Return throughput ratios of the loads of the same round, of undisturbed ones if there are any."""
    pairs = list(zip(above.loads[concurrency], below.loads[concurrency], strict=True))
    fair = [(one, other) for one, other in pairs if not (one.disturbed or other.disturbed)] or pairs
    return [round(one.load.tokens_per_s / other.load.tokens_per_s, 4) for one, other in fair]


def quotient(above: Target, below: Target, concurrency: int, figure: str) -> float:
    """Return how many times one figure of a server is another's."""
    return round(float(figures_of(above, concurrency)[figure]) / float(figures_of(below, concurrency)[figure]), 4)


def bars_against_bare(ours: Target, bare: Target) -> list[Bar]:
    """Return what our front may cost."""
    bars = []
    for at in CONCURRENCIES:
        throughput = statistics.median(ratios(ours, bare, at))
        bars.append(Bar(f"throughput, ours / bare vLLM, x{at}", throughput, ">=", 0.97))
        bars.append(Bar(f"p99 TTFT, ours / bare vLLM, x{at}", quotient(ours, bare, at, "ttft_ms_p99"), "<=", 1.1))
    return bars


def bars_against_litellm(ours: Target, litellm: Target) -> list[Bar]:
    """Return what another front costs, in ours."""
    throughput = statistics.median(ratios(ours, litellm, MOST))
    p99 = quotient(ours, litellm, MOST, "latency_ms_p99")
    return [
        Bar(f"throughput, ours / LiteLLM, x{MOST}", throughput, ">=", 2.8),
        Bar(f"p99 latency, ours / LiteLLM, x{MOST}", p99, "<", 1.0),
    ]


def compare(targets: list[Target]) -> dict[str, Any]:
    """Return all that was measured of one model, and the ratios round by round."""
    ours, *others = targets
    return {
        "ratios": {
            f"ours_to_{other.name}_x{at}": ratios(ours, other, at) for other in others for at in sorted(other.loads)
        },
        "loads": {f"{each.name}_x{at}": figures_of(each, at) for each in targets for at in sorted(each.loads)},
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each load")
    parser.add_argument("--workers", type=int, default=1, help="LiteLLM's worker processes; 0 leaves LiteLLM out")
    options = parser.parse_args()
    began, figures, bars = time.monotonic(), {}, []
    model: Path = make_model(DIRECTORY.parent / "model-4m")
    with servers(model, options.workers) as targets:
        check_equal(targets)
        measure(targets, CONCURRENCIES, options.rounds, options.seconds)
        figures["random Llama, 4.5 million parameters"] = compare(targets)
        bars += bars_against_bare(*targets[:2])
    if options.workers:
        with servers(SHIPPED, options.workers) as targets:
            check_equal(targets)
            measure(targets, (MOST,), SANDBOX_ROUNDS, options.seconds)
            figures["sandbox/base, 0.96 million parameters"] = compare(targets)
            bars += bars_against_litellm(targets[0], targets[2])
    load = f"streamed chats of {TOKENS} tokens at temperature 0, prompts of 20 to 60, loads of {options.seconds:g} s"
    about = {"load": load, "litellm_workers": options.workers, "seconds": round(time.monotonic() - began)}
    report("serve", {**about, **figures}, bars)


if __name__ == "__main__":
    main()
