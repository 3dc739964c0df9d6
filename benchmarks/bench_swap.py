"""What do callers notice of hot swaps? 16 streams without a pause, windows with swaps and without in turn.

In a window with swaps an operator promotes and rolls back in turn, over HTTP: every promotion loads weights into the
idle slot, every rollback only moves the pointer. Each answer is compared, token by token, with what transformers says
greedily for the version that is stamped on it. When a request was routed is in its id. Speed is reported only of
answers whose quality was checked: a single wrong one fails the first bars.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.common import ROOT, Bar, Server, log, percentile, report
from benchmarks.model import make_model
from benchmarks.streams import Answer, Running, Streams
from feedback import keys, policies, promotion
from feedback.ids import made_at_s
from sandbox.corpus import documents

DIRECTORY = ROOT / "var" / "bench" / "swap"
STREAMS, TOKENS, PROMPTS, POLICIES = 16, 64, 48, 3
PROMPT_CHARS = 800
"""About 300 tokens of the sandbox's tokenizer."""
KV_CACHE_GIB = 0.1
"""Room for what is being answered and little more: a prompt is forgotten before it is asked again, as if every caller
said something else. Otherwise windows without swaps would find all prompts in the cache."""
PAIRS, SWAPS = 10, 4
"""Pairs of windows, and swaps in a window that has any."""
SETTLE_S = 3.0
SPACE_S = 3.0
"""Seconds from one swap to the next, about two answers; a window without swaps lasts as long as one with them."""
FOREIGN_CORES = 0.1
"""Cores that other programs may take in a pair of windows that counts, unless all pairs were disturbed."""
QUIET_S = 0.5
"""Pause between two windows, so that no answer is counted in one and slowed by the other."""


@dataclass(frozen=True)
class Move:
    """One swap."""

    kind: str
    before: str
    after: str
    posted_at: float
    """Unix seconds, just before the operator's request left."""
    answered_s: float
    """Until the operator had an answer."""


@dataclass(frozen=True)
class Window:
    """Some seconds of the load."""

    swaps: bool
    begin: float
    end: float
    """Unix seconds."""
    foreign_cores: float
    """Cores that other programs took meanwhile; both kinds of windows suffer, but not alike."""


class Operator:
    """Promotes and rolls back over HTTP, and waits until the replica says that it did."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    def swap(self, kind: str) -> Move:
        """Promote the policy that is neither live nor previous, or roll back."""
        aliases = policies.aliases(self._server.ledger)
        live = aliases["live"]
        body: dict[str, Any] = {"reason": "bench"}
        if kind == "promote":
            named = (live, aliases.get("previous"))
            version = next(version for version in self._server.versions if version not in named)
            body |= {"version": version, "override": True}
        done = self._last_event()
        posted_at = time.time()
        after = self._post(kind, body)["version"]
        answered_s = time.time() - posted_at
        until = time.monotonic() + 30
        while (found := self._last_event()) == done or '"state":"live"' not in found:
            if time.monotonic() > until:
                raise RuntimeError(f"{after} did not become live")
            time.sleep(0.05)
        return Move(kind, live, after, posted_at, answered_s)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self._server.keys['operator']}",
            "Content-Type": "application/json",
        }
        self._connection.request("POST", f"/v1/operations/{path}", json.dumps(body), headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {text[:300]}")
        return dict(json.loads(text))

    def _last_event(self) -> str:
        """Return what the replica said last of a swap."""
        entries = self._server.ledger.redis.xrevrange(keys.SWAPS, count=1)
        return str(entries[0]) if entries else ""


def prompts() -> list[str]:
    """Return questions that differ from their first word on."""
    questions = [text.partition("\nanswer:")[0].removeprefix("question: ") for text in documents(6000, seed=11)]
    texts = [" ".join(questions[start::PROMPTS])[:PROMPT_CHARS] for start in range(PROMPTS)]
    return [f"{number}: {text}" for number, text in enumerate(texts)]


def foreign_s() -> float:
    """Return the processor seconds that programs other than this benchmark's have used on this machine so far."""
    busy, ours = psutil.cpu_times(), 0.0
    for each in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            ours += sum(each.cpu_times()[:2])
    return float(sum(busy[:3])) - ours


def windows(server: Server, pairs: int) -> tuple[list[Window], list[Move], list[Answer]]:
    """Return all windows, all swaps, and all answers."""
    operator, spans, moves = Operator(server), list[Window](), list[Move]()
    window_s = SWAPS * SPACE_S
    job = Streams(
        url=server.url,
        key=server.keys["client"],
        prompts=prompts(),
        concurrency=STREAMS,
        seconds=SETTLE_S + 2 * pairs * (window_s + QUIET_S) + 2,
        tokens=TOKENS,
    )
    with Running(job) as load:
        time.sleep(SETTLE_S)
        for number in range(2 * pairs):
            swapping = number % 4 in (0, 3)  # with and without in turn, each as often first
            begin, foreign = time.time(), foreign_s()
            for turn in range(SWAPS if swapping else 0):
                time.sleep(max(0.0, begin + turn * SPACE_S - time.time()))
                moves.append(operator.swap("promote" if turn % 2 == 0 else "rollback"))
            time.sleep(max(0.0, begin + window_s - time.time()))
            end = time.time()
            spans.append(Window(swapping, begin, end, (foreign_s() - foreign) / (end - begin)))
            log(f"window {number + 1} of {2 * pairs} done, {len(moves)} swaps")
            time.sleep(QUIET_S)
        return spans, moves, load.answers()


def faults(server: Server, answers: Sequence[Answer]) -> Counter[str]:
    """Return what was wrong with how many answers; a token that transformers would not say is ``wrong``."""
    from tests.serve.conftest import Reference  # the reference that the tests trust; loads torch

    asked = prompts()
    references = {version: Reference(path) for version, path in server.paths.items()}
    found: Counter[str] = Counter({"failed": 0, "truncated": 0, "wrong": 0})
    for answer in answers:
        if answer.fault:
            found["truncated" if answer.fault == "truncated" else "failed"] += 1
            log(f"fault: {answer.fault}")
        elif answer.tokens != references[answer.version].chat(asked[answer.prompt], TOKENS):
            found["wrong"] += 1
    said = {tuple(reference.chat(asked[0], TOKENS)) for reference in references.values()}
    if len(said) != len(references):
        raise RuntimeError("two policies say the same, so a wrong answer could not be seen")
    return found


def last_routed_s(move: Move, answers: Sequence[Answer]) -> float:
    """Return seconds from the operator's request to the last request that was routed to the old version."""
    routed = [made_at_s(answer.id) or 0.0 for answer in answers if answer.version == move.before]
    near = [at for at in routed if move.posted_at - 2 * SPACE_S < at < move.posted_at + SPACE_S]
    return max(0.0, max(near, default=0.0) - move.posted_at)


def figures(spans: Sequence[Window], moves: Sequence[Move], answers: Sequence[Answer]) -> dict[str, Any]:
    """Return all that was measured of the windows and of the swaps."""
    inside = [[each for each in answers if span.begin <= each.started_at < span.end] for span in spans]
    p99 = [1000 * percentile([each.ttft_s for each in group], 99) for group in inside]
    pairs = []
    for first in range(0, len(spans), 2):
        busy, quiet = (first, first + 1) if spans[first].swaps else (first + 1, first)
        foreign = max(spans[busy].foreign_cores, spans[quiet].foreign_cores)
        pairs.append(
            {
                "with_p99_ms": p99[busy],
                "without_p99_ms": p99[quiet],
                "ratio": p99[busy] / p99[quiet],
                "foreign_cores": foreign,
            }
        )
    pooled = {
        name: [each.ttft_s for span, group in zip(spans, inside, strict=True) if span.swaps is wanted for each in group]
        for name, wanted in (("with", True), ("without", False))
    }
    undisturbed = [pair["ratio"] for pair in pairs if pair["foreign_cores"] <= FOREIGN_CORES]
    ratios = undisturbed or [pair["ratio"] for pair in pairs]
    back = [1000 * last_routed_s(move, answers) for move in moves if move.kind == "rollback"]
    ahead = [1000 * last_routed_s(move, answers) for move in moves if move.kind == "promote"]
    return {
        "requests": len(answers),
        "swaps": len(moves),
        "answers_of": dict(Counter(answer.version for answer in answers)),
        "ttft_ms": {
            name: {f"p{q}": 1000 * percentile(times, q) for q in (50, 95, 99)} | {"requests": len(times)}
            for name, times in pooled.items()
        },
        "ttft_p99_pairs": pairs,
        "undisturbed_pairs": len(undisturbed),
        "ttft_p99_ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
        "rollback_last_routed_ms": _spread(back),
        "promote_last_routed_ms": _spread(ahead),
        "rollback_answered_ms": _spread([1000 * move.answered_s for move in moves if move.kind == "rollback"]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"count": len(values), "median": statistics.median(values), "least": min(values), "most": max(values)}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_swap", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of windows")
    given = parser.parse_args()
    extra = {"WHETSTONE_MAX_MODEL_LEN": "512", "WHETSTONE_KV_CACHE_GIB": str(KV_CACHE_GIB)}
    with Server(DIRECTORY, POLICIES, make_model(DIRECTORY.with_name("swap-model")), extra) as server:
        server.wait_ready(slots=2)
        spans, moves, answers = windows(server, given.pairs)
        swaps = [event for event in promotion.swaps(server.ledger) if event.state == "live" and event.previous]
        loads = [event.load_s for event in swaps if event.load_s]
        bad = faults(server, answers)
    found = figures(spans, moves, answers) | {"faults": dict(bad), "load_s": _spread(loads)}
    report(
        "swap",
        found,
        [
            Bar("swaps", len(moves), ">=", SWAPS * PAIRS),
            *(Bar(f"{name} answers", bad[name], "==", 0) for name in ("failed", "truncated", "wrong")),
            Bar("p99 of time to first token, with swaps / without", found["ttft_p99_ratio"]["median"], "<=", 1.5),
            Bar("rollbacks", found["rollback_last_routed_ms"]["count"], ">=", 10),
            Bar("rollback to last request routed, slowest, ms", found["rollback_last_routed_ms"]["most"], "<=", 100),
        ],
    )


if __name__ == "__main__":
    main()
