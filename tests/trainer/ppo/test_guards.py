"""Each guard trips on its fault, with a reason, and on nothing else."""

from __future__ import annotations

import pytest

from trainer.ppo.guards import Guards, GuardSettings

HEALTHY = {
    "objective/kl": 3.0,
    "episode/eos_rate": 0.9,
    "ppo/policy/entropy_avg": 2.0,
    "sampler/gap_mean": 1e-6,
    "ppo/loss/policy_avg": 0.1,
}


def watch(**changes: float) -> list[str | None]:
    """Verdicts of a healthy iteration followed by four with the changes."""
    guards = Guards(GuardSettings(guard_patience=3))
    sick = HEALTHY | {name.replace("__", "/"): value for name, value in changes.items()}
    return [guards.check(HEALTHY), *(guards.check(sick) for _ in range(3))]


def test_a_healthy_run_is_left_alone() -> None:
    assert watch() == [None] * 4


@pytest.mark.parametrize(
    ("fault", "value", "reason"),
    [
        ("objective__kl", 101.0, "KL 101 nats an episode is over its budget of 100"),
        ("episode__eos_rate", 0.1, "EOS rate fell from 0.9 to 0.1"),
        ("ppo__policy__entropy_avg", 0.01, "entropy 0.01 nats a token is under 0.1"),
        ("sampler__gap_mean", 0.2, "sampler and trainer differ by 0.2 nats"),
    ],
)
def test_a_fault_stops_the_run_after_patience_iterations_with_its_reason(fault: str, value: float, reason: str) -> None:
    verdicts = watch(**{fault: value})
    assert verdicts[:3] == [None, None, None]
    assert verdicts[3] is not None
    assert reason in verdicts[3]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_stops_at_once(value: float) -> None:
    guards = Guards(GuardSettings())
    verdict = guards.check(HEALTHY | {"ppo/loss/policy_avg": value})
    assert verdict is not None
    assert verdict.startswith("ppo/loss/policy_avg is")


def test_a_recovered_rule_starts_counting_anew() -> None:
    guards = Guards(GuardSettings(guard_patience=2))
    sick = HEALTHY | {"objective/kl": 1e3}
    assert [guards.check(m) for m in (HEALTHY, sick, HEALTHY, sick)] == [None] * 4
    assert not guards.healthy


def test_counts_survive_a_restart() -> None:
    first, second = Guards(GuardSettings(guard_patience=2)), Guards(GuardSettings(guard_patience=2))
    sick = HEALTHY | {"episode/eos_rate": 0.0}
    first.check(HEALTHY)
    first.check(sick)
    second.load_state_dict(first.state_dict())
    assert second.check(sick) is not None
