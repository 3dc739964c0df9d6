"""Arms start when what they need is there, as many at a time as there are workers, and are not run twice."""

from benchmarks.paper.__main__ import main, ready, run_all
from benchmarks.paper.arms import Place
from benchmarks.paper.plan import ARMS, BY_NAME, QUICK, wanted


def test_only_what_has_its_needs_is_ready_and_early_seeds_come_first() -> None:
    waiting = [(seed, arm) for seed in (1, 2) for arm in ARMS]
    first = [(seed, arm.name) for seed, arm in ready(waiting, set(), 9)]
    assert first == [(1, "base"), (1, "base-few-shot"), (2, "base"), (2, "base-few-shot")]
    some = [(seed, arm) for seed, arm in waiting if arm.name in ("reward", "ppo")]
    done = {(1, "comparisons"), (1, "sft"), (2, "reward"), (2, "start")}
    assert [(seed, arm.name) for seed, arm in ready(some, done, 9)] == [(1, "reward"), (2, "ppo")]
    assert ready(some, done, 1) == [(1, BY_NAME["reward"])]
    assert ready(some, done, 0) == []


def test_arms_run_in_workers_and_nothing_runs_twice(quick: Place) -> None:
    arms = wanted(["base-few-shot", "sft"])
    count, cpu_s = run_all(arms, [quick.seed], quick.root, QUICK, 1)
    assert count == 1, "the others were there"
    assert cpu_s > 0
    assert run_all(arms, [quick.seed], quick.root, QUICK, 1) == (0, 0.0)


def test_some_arms_write_no_page(quick: Place) -> None:
    given = ["--quick", "--seeds", "7", "--arms", "sft", "--results", str(quick.root.parent)]
    (quick.root.parent / "quick").symlink_to(quick.root)
    assert main(given) == 0
