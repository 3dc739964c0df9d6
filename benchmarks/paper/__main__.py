"""``python -m benchmarks.paper``: run what is missing of the paper in miniature, two arms at a time; write the page.

Knows arms' order and processes; does not know what an arm does. A second start runs only what has no valid result.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.common import ROOT, commit, log
from benchmarks.paper.plan import QUICK, Arm, Sizes, wanted

WORKERS = 2
SEEDS = [2, 3, 4]
"""Reported ones; settings were chosen on others (1 and 100)."""
Job = tuple[int, str]
"""Seed and arm."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the arms of all seeds, then write the page unless only some arms were asked for; 0 when all that is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description="The paper in miniature.")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of data and training (default 2 3 4)")
    parser.add_argument("--arms", nargs="+", default=[], help="only these and what they need; the page is not written")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"arms at a time (default {WORKERS})")
    parser.add_argument("--quick", action="store_true", help="everything tiny: shows that it runs, and nothing else")
    parser.add_argument("--results", type=Path, default=ROOT / "var" / "paper", help="directory of the results")
    given = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before any worker imports torch
    sizes = QUICK if given.quick else Sizes()
    root = given.results / "quick" if given.quick else given.results
    began = time.monotonic()
    ran, cpu_s = run_all(wanted(given.arms), given.seeds, root, sizes, given.workers)
    wall_s = round(time.monotonic() - began, 1)
    log(f"{ran} arms run in {wall_s:.0f} s of wall time, {cpu_s:.0f} s of CPU")
    if given.arms or given.quick:
        return 0
    from benchmarks.paper.bars import RUN_FILE, finish  # draws, which takes seconds to import

    if ran == len(wanted([])) * len(given.seeds):  # in one go: the only wall time that means something
        whole = {"wall_s": wall_s, "cpu_s": cpu_s, "workers": given.workers, "seeds": given.seeds, "commit": commit()}
        (root / RUN_FILE).write_text(json.dumps(whole) + "\n")
    return finish(root, given.seeds)


def run_all(arms: Sequence[Arm], seeds: Sequence[int], root: Path, sizes: Sizes, workers: int) -> tuple[int, float]:
    """Run what has no valid result, everything after what it needs; return how many arms ran and their CPU seconds."""
    from benchmarks.paper.arms import Place, found, run_arm  # imports torch, after the number of threads is set

    done = {(seed, arm.name) for seed in seeds for arm in arms if found(Place(root, seed, sizes), arm)}
    waiting = [(seed, arm) for seed in seeds for arm in arms if (seed, arm.name) not in done]
    count, cpu_s = len(waiting), 0.0
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(workers, mp_context=context) as pool,
        tqdm(total=count, desc="arms", disable=not count) as bar,
    ):
        running: dict[Future[dict[str, Any]], Job] = {}
        while waiting or running:
            for job in ready(waiting, done, workers - len(running)):
                waiting.remove(job)
                running[pool.submit(run_arm, job[1].name, Place(root, job[0], sizes))] = (job[0], job[1].name)
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                seed, name = running.pop(future)
                cpu_s += future.result()["cpu_s"]
                done.add((seed, name))
                bar.set_postfix_str(f"{name} of seed {seed}")
                bar.update()
    return count, round(cpu_s, 1)


def ready(waiting: Sequence[tuple[int, Arm]], done: set[Job], most: int) -> list[tuple[int, Arm]]:
    """Return up to ``most`` arms, in order, all of whose needs are done."""
    return [(seed, arm) for seed, arm in waiting if all((seed, name) in done for name in arm.needs)][:most]


if __name__ == "__main__":
    sys.exit(main())
