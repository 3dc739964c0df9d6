"""Results of contests: ties half, whole prompts drawn, quarantined labels out, closed when nothing more can come."""

import pytest

from feedback import comparisons, contest_results, contests, labelers, labels, leases, snapshots
from feedback.client import Ledger
from feedback.contest_results import WinRate, score, win_rate
from feedback.records import Comparison, Contest, Label, Outcome
from tests.builders import NOON, make_comparison, make_completion, make_label
from tests.feedback.test_contests import begin, ready

__all__ = ["ready"]


def sides(first: str = "policy-0001", second: str = "policy-0000") -> Comparison:
    completions = [make_completion("One.", policy_version=first), make_completion("Two.", policy_version=second)]
    return make_comparison(2, completions=completions, purpose="evaluation", split="test")


@pytest.mark.parametrize(
    ("ranking", "outcome", "points"),
    [
        ([[0], [1]], "ranked", 1.0),
        ([[1], [0]], "ranked", 0.0),
        ([[0, 1]], "ranked", 0.5),
        ([[0, 1]], "all_bad", 0.5),
    ],
)
def test_a_label_is_worth_what_it_says_whichever_side_was_first(
    ranking: list[list[int]], outcome: Outcome, points: float
) -> None:
    one, other = sides(), sides("policy-0000", "policy-0001")
    assert score(make_label(one, ranking=ranking, outcome=outcome), one, "policy-0001") == points
    assert score(make_label(other, ranking=ranking, outcome=outcome), other, "policy-0001") == 1 - points


def test_the_interval_is_over_prompts_and_not_over_labels() -> None:
    few = win_rate([[1.0], [0.0]] * 10)
    many = win_rate([[1.0] * 20, [0.0] * 20] * 10)
    assert few.mean == many.mean == 0.5
    assert (few.low, few.high) == (many.low, many.high), "twenty labels of one prompt are not twenty prompts"
    assert few.low is not None
    assert few.high is not None
    assert 0.2 < few.low < 0.4
    assert 0.6 < few.high < 0.8
    assert (few.prompts, few.labels, many.labels) == (20, 20, 400)


def test_with_nothing_or_one_opinion_there_is_no_interval() -> None:
    assert win_rate([]) == WinRate(None, None, None, 0, 0)
    assert win_rate([[1.0], [1.0]]) == WinRate(1.0, None, None, 2, 2)
    assert win_rate([[0.5]], unasked=1) == WinRate(0.5, None, None, 1, 0)


def sample(ledger: Ledger, contest: Contest, same: int = 0) -> list[Comparison]:
    """Give all comparisons of a contest their answers; in the last ``same`` both say the same."""
    done = []
    for number, prompt in enumerate(contest.prompts):
        planned = comparisons.get(ledger, contests.comparison_id(contest, prompt))
        alike = number >= len(contest.prompts) - same
        answers = [make_completion("Same." if alike else f"By {each}.", policy_version=each) for each in planned.models]
        assert comparisons.complete(ledger, planned, answers, shown=not alike)
        done.append(comparisons.get(ledger, planned.id))
    return done


def judge(ledger: Ledger, labeler: str, group: str, winner: str) -> None:
    """One labeler prefers one version wherever they are asked."""
    while (lease := leases.lease(ledger, "evaluation", labeler)) is not None:
        comparison = comparisons.get(ledger, lease.item_id)
        best = 0 if comparison.completions[0].policy_version == winner else 1
        label = make_label(
            comparison,
            id=f"{labeler}-{comparison.id}",
            labeler=labeler,
            labeler_group=group,
            purpose="evaluation",
            ranking=[[best], [1 - best]],
        )
        labels.submit(ledger, label, comparison, lease.token)


def test_a_contest_from_answers_to_win_rates_by_group(ready: Ledger) -> None:
    contest = begin(ready)
    contests.plan(ready)
    assert contest_results.result(ready, contest).win_rate.prompts == 0
    sample(ready, contest, same=2)
    judge(ready, "ann", "training", contest.a)
    judge(ready, "ben", "training", contest.a)
    assert contest_results.settle(ready) == 0, "a third opinion is to come"
    judge(ready, "cleo", "held-out", contest.b)
    assert contest_results.settle(ready) == 1
    found = contest_results.result(ready, contests.get(ready, contest.id))
    assert found.contest.state == "done"
    assert (found.same, found.finished, found.lost) == (2, 8, 0)
    assert found.win_rate.mean == pytest.approx((6 * 2 / 3 + 2 * 0.5) / 8)
    assert (found.win_rate.prompts, found.win_rate.labels) == (8, 18)
    assert found.by_group["training"].mean == pytest.approx((6 + 1) / 8)
    assert found.by_group["held-out"].mean == pytest.approx(1 / 8)
    assert found.by_group["held-out"].labels == 6


def test_what_somebody_in_quarantine_said_counts_for_nothing(ready: Ledger) -> None:
    contest = begin(ready)
    contests.plan(ready)
    sample(ready, contest)
    judge(ready, "ann", "training", contest.a)
    judge(ready, "mallory", "training", contest.b)
    labelers.pause(ready, "mallory", "olga", "random clicks", quarantine_from=NOON)
    found = contest_results.result(ready, contest).win_rate
    assert (found.mean, found.labels) == (1.0, 8)


def test_a_contest_ends_without_the_prompts_that_could_not_be_sampled(ready: Ledger) -> None:
    contest = begin(ready)
    contests.plan(ready)
    for prompt in contest.prompts:
        assert comparisons.bury(ready, contests.comparison_id(contest, prompt), "failed too often")
    assert contest_results.settle(ready) == 1
    found = contest_results.result(ready, contests.get(ready, contest.id))
    assert (found.lost, found.finished, found.win_rate.mean) == (8, 0, None)


def test_no_label_of_a_contest_is_ever_in_a_snapshot(ready: Ledger, tmp_path: object) -> None:
    contest = begin(ready)
    contests.plan(ready)
    sample(ready, contest)
    judge(ready, "ann", "training", contest.a)
    given: list[Label] = [label for _, label in labels.read(ready)]
    snapshot = snapshots.build(ready, tmp_path)  # type: ignore[arg-type]
    assert snapshot.labels == []
    assert set(snapshot.left_out) == {label.id for label in given}
