"""Does a run that is killed at any moment end in the same bits, and how much of its work does it do again?

Every run is a real stage on a tiny model in a process of its own, killed with SIGKILL at a point drawn with a seed: at
a random time, or at a random visit of a place that is named (in the bytes of a checkpoint, between two backwards, in a
weight push, around the rename that publishes, ...). Then it is started again. Compared with an uninterrupted run are
the SHA-256 of every published file (of JSON without times), and every tensor and value of the last checkpoint: weights,
optimizers, average, random generators, cursors, controllers. Two controls show that the comparison can fail: torn
checkpoints that are trusted, and generators that are not restored.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.common import ROOT, Bar, log, percentile, report
from benchmarks.killable import SITES, VLLM_SITES, Death, locate

DIRECTORY = ROOT / "var" / "bench" / "resume"
FOUND = "found.jsonl"
KILLS, SEED, CONTROLS = 200, 1, 4
SHARES = {"ppo": 0.5, "ppo on 2 threads": 0.03, "ppo with adapters": 0.1, "sft": 0.17, "reward": 0.12, "pretrain": 0.08}
"""Of the kills; what is left by rounding goes to the first."""
TIMED = 0.25
"""Share of the kills at random times; the others are at named places."""


@dataclass(frozen=True)
class Case:
    """One kill to come."""

    number: int
    scenario: str
    kind: str
    death: Death | float


def draw_cases(
    kills: int, seed: int, visits: Mapping[str, Mapping[str, int]], seconds: Mapping[str, float]
) -> list[Case]:
    """Draw the kills: how many of each run is fixed, where each dies is random, kinds of places equally likely.

    Args:
        kills: how many.
        seed: same seed, same kills.
        visits: of each site in each uninterrupted run.
        seconds: that each of them took.
    """
    draw = random.Random(seed)
    counts = {name: round(kills * SHARES[name]) for name in seconds}
    first = next(iter(counts))
    counts[first] += kills - sum(counts.values())
    cases: list[Case] = []
    for name, count in counts.items():
        places: dict[str, list[Any]] = defaultdict(list)
        for site in SITES:
            if visits[name].get(site.name):
                places[site.kind].append(site)
        for _ in range(count):
            if draw.random() < TIMED:
                cases.append(Case(len(cases), name, "at a random time", round(draw.uniform(0, seconds[name]), 3)))
                continue
            kind = draw.choice(sorted(places))
            site = draw.choice(places[kind])
            death = Death(site.name, draw.randint(1, visits[name][site.name]), draw.choice(site.moments))
            cases.append(Case(len(cases), name, kind, death))
    return cases


def figures(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was measured: totals, and a row for each kind of place and each run."""

    def row(some: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "kills": len(some),
            "bit_equal": sum(each["equal"] for each in some),
            "most_steps_redone": max((each["redone_steps"] for each in some), default=0),
        }

    def rows(key: str) -> dict[str, Any]:
        return {name: row([e for e in outcomes if e[key] == name]) for name in sorted({e[key] for e in outcomes})}

    restarts = [each["restart_s"] for each in outcomes if each["restart_s"] is not None]
    return row(outcomes) | {
        "steps_redone": dict(sorted(Counter(each["redone_steps"] for each in outcomes).items())),
        "restart_s": {"median": percentile(restarts, 50), "p95": percentile(restarts, 95), "most": max(restarts)},
        "by_kind": rows("kind"),
        "by_run": rows("scenario"),
        "unequal": [each for each in outcomes if not each["equal"]][:5],
    }


def trust_torn_checkpoints() -> None:
    """Control: checkpoints are written in place and no manifest is looked at."""
    from trainer.running import run, workspace

    def newest(root: Path, **_: object) -> Path | None:
        found = [*Path(root).glob("step-*"), *Path(root).glob(".step-*")]
        return max(found, key=lambda path: path.name.lstrip("."), default=None)

    _replace(workspace, "_sweep", lambda work, result: None)
    _replace(run, "latest_checkpoint", newest)


def forget_generators() -> None:
    """Control: random generators are seeded, not restored."""
    from trainer.running import checkpoint

    _replace(checkpoint, "restore_random_state", lambda state, generators: None)


def _replace(module: Any, name: str, by: Callable[..., Any]) -> None:
    setattr(module, name, by)


def control_cases(
    visits: Mapping[str, Mapping[str, int]], steps: int, each_kind: int
) -> list[tuple[Callable[[], None], Case]]:
    """Deaths after which a run that does not look at manifests, or that forgets generators, must end otherwise."""
    write = "trainer.running.checkpoint:_Hashed.write"
    each = visits["sft"][write] // steps
    torn = [Death(write, each * (3 + n) + each // 2 + n, "half") for n in range(each_kind)]
    lost = [Death("trainer.running.run:save_checkpoint", 3 + n, "after") for n in range(each_kind)]
    return [(trust_torn_checkpoints, Case(n, "sft", "torn checkpoints trusted", d)) for n, d in enumerate(torn)] + [
        (forget_generators, Case(n, "sft", "generators not restored", d)) for n, d in enumerate(lost)
    ]


def shepherd(tasks: Sequence[Callable[[Path], Any]], jobs: int, directory: Path, show: bool = True) -> list[Any]:
    """Do tasks in ``jobs`` forked processes; return what they found, in order.

    A task is given a directory of its own and returns something that JSON can hold; it is kept in ``found.jsonl``, too,
    so that a measurement that is cut off is not lost.
    """
    directory.mkdir(parents=True, exist_ok=True)
    pipe, far = os.pipe()
    for job in range(jobs):
        sys.stdout.flush()
        if os.fork() == 0:
            code = 1
            try:
                os.close(pipe)
                for number in range(job, len(tasks), jobs):
                    line = json.dumps([number, tasks[number](directory / f"job-{job}")])
                    os.write(far, (line + "\n").encode())
                code = 0
            finally:
                os._exit(code)
    os.close(far)
    found: dict[int, Any] = {}
    with (
        os.fdopen(pipe) as lines,
        (directory / FOUND).open("w", buffering=1) as kept,
        tqdm(total=len(tasks), disable=not show, mininterval=1.0) as bar,
    ):
        for line in lines:
            number, value = json.loads(line)
            found[number] = value
            kept.write(line)
            bar.update()
    for _ in range(jobs):
        os.wait()
    if len(found) != len(tasks):
        raise RuntimeError(f"{len(tasks) - len(found)} of {len(tasks)} runs were lost with the process that led them")
    return [found[number] for number in range(len(tasks))]


def measure(
    kills: int, seed: int, jobs: int, vllm: int, names: Sequence[str], each_control: int
) -> tuple[dict[str, Any], list[Bar]]:
    """Do everything; return figures and bars."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    began_s = time.monotonic()
    from benchmarks import mortal  # imports the trainer and torch: once, here, for all children
    from benchmarks.tiny_runs import make_scenarios

    scenarios = make_scenarios(DIRECTORY / "inputs", vllm=bool(vllm))
    for each in scenarios.values():
        each.load()
    for site in SITES:
        locate(site.name)
    imports_s = time.monotonic() - began_s
    chosen = [scenarios[name] for name in SHARES if name in names]
    log(f"{len(chosen)} uninterrupted runs, each twice: the second shows that they repeat")
    baselines = {}
    for each in chosen:
        baselines[each.name] = mortal.uninterrupted(each, SITES, DIRECTORY / "whole" / each.name.replace(" ", "-"))
        again = mortal.uninterrupted(each, SITES, DIRECTORY / "again" / each.name.replace(" ", "-"))
        if other := mortal.differences(baselines[each.name].digests, again.digests):
            raise RuntimeError(f"{each.name} does not repeat even uninterrupted: {other[:5]}")
    visits = {name: found.visits for name, found in baselines.items()}
    cases = draw_cases(kills, seed, visits, {name: found.seconds for name, found in baselines.items()})

    def task(case: Case, break_it: Callable[[], None] | None = None) -> Callable[[Path], dict[str, Any]]:
        def kill(directory: Path) -> dict[str, Any]:
            scenario, baseline, death = scenarios[case.scenario], baselines[case.scenario], case.death
            while True:
                found = mortal.killed_once(scenario, SITES, directory, baseline, case.kind, death, break_it)
                if found.died or not isinstance(death, float):
                    return asdict(found) | {"equal": found.equal}
                death *= 0.7  # it had ended by then

        return kill

    log(f"{kills} kills")
    outcomes = shepherd([task(case) for case in cases], jobs, DIRECTORY / "runs")
    controls: list[dict[str, Any]] = []
    if "sft" in baselines:
        given = control_cases(visits, baselines["sft"].steps, each_control)
        controls = shepherd([task(case, break_it) for break_it, case in given], jobs, DIRECTORY / "controls")
    found = figures(outcomes) | {
        "imports_s": round(imports_s, 2),
        "seconds": round(time.monotonic() - began_s, 1),
        "controls": {
            kind: {"kills": len(some), "noticed": sum(not each["equal"] for each in some)}
            for kind in sorted({each["kind"] for each in controls})
            for some in [[each for each in controls if each["kind"] == kind]]
        },
        "places_never_reached": sorted(
            {s.name for s in SITES} - {n for v in visits.values() for n, c in v.items() if c}
        ),
    }
    bars = [
        Bar("kills", sum(each["died"] for each in outcomes), "==", kills),
        Bar("bit-equal finishes", found["bit_equal"], "==", kills),
        Bar("most steps or iterations done again after one kill", found["most_steps_redone"], "<=", 1),
        Bar("restart to first step, p95, s", found["restart_s"]["p95"], "<=", 3.0),
        *(Bar(f"control: {kind}, noticed", c["noticed"], "==", c["kills"]) for kind, c in found["controls"].items()),
    ]
    if vllm:
        found["vllm"] = with_vllm(vllm, seed)
        bars.append(Bar("bit-equal finishes with vLLM", found["vllm"]["bit_equal"], "==", vllm))
    return found, bars


def with_vllm(kills: int, seed: int) -> dict[str, Any]:
    """Kill runs that sample with a real engine; deaths are around and in the push of weights, and while sampling."""
    from benchmarks import mortal
    from benchmarks.tiny_runs import make_scenarios

    scenario, sites = make_scenarios(DIRECTORY / "inputs", vllm=True)["ppo with vLLM"], VLLM_SITES
    log("uninterrupted runs with vLLM")
    baseline = mortal.uninterrupted(scenario, sites, DIRECTORY / "vllm" / "whole")
    again = mortal.uninterrupted(scenario, sites, DIRECTORY / "vllm" / "again")
    repeats = mortal.differences(baseline.digests, again.digests)
    draw, outcomes = random.Random(seed), []
    for number in tqdm(range(kills), desc="vLLM"):
        site = sites[number % len(sites)]
        death = Death(site.name, draw.randint(2, baseline.visits[site.name]), site.moments[(number + 1) % 2])
        outcomes.append(mortal.killed_once(scenario, sites, DIRECTORY / "vllm" / "run", baseline, site.kind, death))
    return {
        "kills": sum(each.died for each in outcomes),
        "bit_equal": sum(each.equal for each in outcomes),
        "most_steps_redone": max(each.redone_steps for each in outcomes),
        "uninterrupted_runs_equal": not repeats,
        "engine_outlived_its_trainer_s": max(each.orphans_s for each in outcomes),
        "restart_s": max(each.restart_s or 0.0 for each in outcomes),
        "run_s": round(baseline.seconds, 1),
        "deaths": [each.where for each in outcomes],
        "unequal": [asdict(each) for each in outcomes if not each.equal],
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_resume", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="how many")
    parser.add_argument("--seed", type=int, default=SEED, help="of the points at which runs are killed")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    parser.add_argument("--runs", nargs="+", choices=list(SHARES), default=list(SHARES), help="kinds of runs")
    parser.add_argument("--controls", type=int, default=CONTROLS, help="kills of each control")
    parser.add_argument("--vllm", type=int, default=2, help="further kills of runs that sample with a real engine")
    given = parser.parse_args()
    found, bars = measure(given.kills, given.seed, given.jobs, given.vllm, given.runs, given.controls)
    for kind, row in {**found["by_run"], **found["by_kind"]}.items():
        log(f"{kind:42} {row['bit_equal']:3} of {row['kills']:3} bit-equal, {row['most_steps_redone']} done again")
    report("resume" if given.kills >= KILLS else "resume-part", found, bars)


if __name__ == "__main__":
    main()
