"""Steps that are not taken: a number that is none, a policy that moved far enough; and which prompts are named."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from feedback.errors import Diverged
from trainer.ppo import updates
from trainer.ppo.job import PpoJob, build_job
from trainer.ppo.ppo import iterate, run_ppo
from trainer.ppo.step import minibatch_step
from trainer.ppo.updates import spoilt
from trainer.settings.ppo import PpoSettings

SMALL = {
    "batch_size": 8, "minibatches": 4, "episodes": 40, "max_completion_tokens": 6, "lr": 1e-3, "value_lr": 1e-3,
    "threads": 1, "seed": 3, "device": "cpu", "warmup_iterations": 0, "checkpoint_every": 1,
}  # fmt: skip


class Rule:
    """Scores by length; NaN for the first completion in the calls (one an iteration) that are poisoned."""

    def __init__(self, poisoned: Sequence[int] = ()) -> None:
        self.calls, self.poisoned = 0, poisoned

    def __call__(self, messages: object, texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
        self.calls += 1
        scores = [float(len(text)) for text in texts]
        return [math.nan, *scores[1:]] if self.calls - 1 in self.poisoned else scores


@pytest.fixture
def settings(tiny_policy_dir: Path, prompt_file: Path, tmp_path: Path) -> PpoSettings:
    given = {"output": tmp_path / "out", "policy": tiny_policy_dir, "prompts": [prompt_file]}
    return PpoSettings.model_validate(SMALL | given)


def fresh(settings: PpoSettings, **changes: object) -> tuple[PpoJob, PpoSettings]:
    settings = settings.model_copy(update=changes)
    return build_job(settings, torch.device("cpu"), needs_reward_model=False), settings


def weights(job: PpoJob) -> list[Tensor]:
    return [p.detach().clone() for p in (*job.learner.policy.parameters(), *job.learner.value.parameters())]


def bad_batches(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "bad-batches.jsonl").read_text().splitlines()]


def test_a_score_that_is_no_number_moves_nothing_and_names_its_prompt(settings: PpoSettings) -> None:
    job, settings = fresh(settings)
    before, first = weights(job), job.next_prompts(settings)[0].id
    job.bad_steps = type(job.bad_steps)(settings.output.parent)
    metrics = iterate(job, settings, Rule(poisoned=[0]))
    assert all(torch.equal(a, b) for a, b in zip(before, weights(job), strict=True))
    assert (job.iteration, metrics["skipped_steps"], metrics["objective/kl"]) == (1, 1.0, 0.0)
    assert all(math.isfinite(value) for value in metrics.values())
    [line] = bad_batches(settings.output.parent)
    assert (line["step"], line["rows"]) == (0, [first])
    assert "objective/scores is nan" in str(line["reason"])


def test_a_gradient_that_is_no_number_costs_its_step_only(
    settings: PpoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, settings = fresh(settings)
    calls: list[list[int]] = []

    def step(learner: object, experience: object, rows_B: Tensor, *rest: object) -> dict[str, Tensor]:
        calls.append(rows_B.tolist())
        if len(calls) == 2:
            raise Diverged("ppo/grad_norm/value is nan; no weight was changed by this step")
        return minibatch_step(learner, experience, rows_B, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(updates, "minibatch_step", step)
    ids = [prompt.id for prompt in job.next_prompts(settings)]
    job.bad_steps = type(job.bad_steps)(settings.output.parent)
    metrics = iterate(job, settings, Rule())
    assert (len(calls), metrics["ppo/optimizer_steps"], metrics["skipped_steps"]) == (4, 3.0, 1.0)
    assert bad_batches(settings.output.parent)[0]["rows"] == [ids[row] for row in calls[1]]


def test_once_the_policy_moved_far_enough_the_rest_of_the_iteration_is_left_out(settings: PpoSettings) -> None:
    for limit, steps, left_out in ((0.0, 4.0, 0.0), (1e-9, 2.0, 2.0), (1e3, 4.0, 0.0)):
        job, changed = fresh(settings, max_update_kl_nats=limit)
        metrics = iterate(job, changed, Rule())
        # The first minibatch's KL is 0; the second one's is not, and it is the last.
        assert (metrics["ppo/optimizer_steps"], metrics["ppo/left_out_steps"]) == (steps, left_out), limit


def test_too_many_bad_steps_send_the_run_back_once_with_half_the_rate(settings: PpoSettings) -> None:
    """Iterations 2, 3 and 4 have no score; done again, they have: by then the rule was called more often."""
    metrics = run_ppo(settings, reward_fn=Rule(poisoned=[2, 3, 4]))
    rows = [json.loads(line) for line in (settings.output / "metrics.jsonl").read_text().splitlines()]
    assert metrics["stopped"] is None
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["lr"] for row in rows] == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 5e-4])
    assert [(line["attempt"], line["step"]) for line in bad_batches(settings.output)] == [(0, 2), (0, 3), (0, 4)]


def test_where_going_back_does_not_help_the_last_good_weights_are_published_with_the_reason(
    settings: PpoSettings,
) -> None:
    metrics = run_ppo(settings, reward_fn=Rule(poisoned=range(2, 99)))
    stopped = metrics["stopped"]
    assert "3 steps in a row could not be taken (the last: objective/scores is nan)" in stopped["reason"]
    assert (stopped["iteration"], stopped["published_iteration"]) == (5, 1)
    assert [line["attempt"] for line in bad_batches(settings.output)] == [0, 0, 0, 1, 1, 1]


def test_rows_to_blame_are_those_that_are_not_finite_or_all_of_them() -> None:
    clean = torch.zeros(3, 2)
    poisoned = clean.clone()
    poisoned[1, 1] = math.inf
    assert spoilt({"kl": 1.0}, [clean], ["a", "b", "c"]) == ("", [])
    assert spoilt({"kl": math.nan}, [clean, poisoned], ["a", "b", "c"]) == ("kl is nan", ["b"])
    assert spoilt({"kl": math.inf}, [clean, torch.zeros(3)], ["a", "b", "c"]) == ("kl is inf", ["a", "b", "c"])
