"""Each guard trips on its fault, with a reason, and on nothing else."""

from __future__ import annotations

import pytest

from trainer.ppo.guards import Guards
from trainer.settings.guards import GuardSettings

HEALTHY = {
    "objective/kl": 3.0,
    "episode/eos_rate": 0.9,
    "ppo/policy/entropy_avg": 2.0,
    "episode/empty_rate": 0.0,
    "objective/scores_std": 1.0,
    "ppo/advantages_std": 1.0,
    "objective/held_out_fall": 0.0,
    "sampler/gap_mean": 1e-6,
    "sampler/ess": 1.0,
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
        ("objective__kl", 101.0, "KL 101 nats an episode is over its limit of 100"),
        ("episode__eos_rate", 0.1, "EOS rate fell from 0.9 to 0.1"),
        ("ppo__policy__entropy_avg", 0.01, "entropy 0.01 nats a token is under 0.1"),
        ("episode__eos_rate", 0.0, "EOS rate fell from 0.9 to 0"),
        ("episode__empty_rate", 0.6, "60% of the completions are empty"),
        ("objective__scores_std", 0.0, "scores do not vary"),
        ("ppo__advantages_std", 0.0, "advantages do not vary"),
        ("objective__held_out_fall", 0.2, "lost 20% of what it had gained"),
        ("sampler__gap_mean", 0.2, "sampler and trainer differ by 0.2 nats"),
        ("sampler__ess", 0.99, "effective share of 0.99"),
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


def test_a_fall_to_the_length_cap_is_one_whatever_the_start_and_chance_is_none() -> None:
    for start, stopped in ((0.2, True), (0.05, False)):
        guards = Guards(GuardSettings(guard_patience=1))
        guards.check(HEALTHY | {"episode/eos_rate": start})
        assert (guards.check(HEALTHY | {"episode/eos_rate": 0.0}) is not None) is stopped


def test_the_kl_budget_stops_at_once_at_one_and_a_half_times_and_not_before() -> None:
    guards = Guards(GuardSettings(kl_budget_nats=10.0, guard_patience=3))
    assert guards.check(HEALTHY | {"objective/kl": 14.9}) is None
    assert guards.healthy
    assert guards.check(HEALTHY | {"objective/kl": 16.0, "objective/kl_error": 0.6}) is None
    assert (
        guards.check(HEALTHY | {"objective/kl": 15.1}) == "KL 15.1 nats an episode is over 1.5 times the budget of 10"
    )


def test_an_alarm_is_raised_in_the_iteration_of_the_fault_and_says_for_how_long() -> None:
    guards = Guards(GuardSettings(guard_patience=3))
    assert guards.check(HEALTHY) is None
    assert guards.alarms()["guards/broken"] == 0.0
    sick = HEALTHY | {"sampler/ess": 0.9, "sampler/gap_mean": 0.2}
    for count in (1, 2):
        assert guards.check(sick) is None
        assert guards.alarms()["guards/broken"] == 2.0
        assert guards.alarms()["guards/ess"] == count == guards.broken_for


def test_it_remembers_which_weights_measured_badly() -> None:
    guards, copy = Guards(GuardSettings()), Guards(GuardSettings())
    for iteration, kl in enumerate((3.0, 1e3, 3.0)):
        guards.check(HEALTHY | {"objective/kl": kl}, iteration)
    assert [guards.measured_sick(iteration) for iteration in range(3)] == [False, True, False]
    copy.load_state_dict(guards.state_dict())
    assert copy.measured_sick(1)
