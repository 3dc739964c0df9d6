"""Agreement: the published figures of real data come out, and the intervals mean what they say."""

import gzip
import json
import random
from pathlib import Path

import krippendorff
import numpy as np
import pytest

from feedback.quality import agreement
from feedback.quality.agreement import Rating, Vote
from feedback.quality.figures import Estimate


def votes_of(data_root: Path, name: str) -> list[Vote]:
    """Return the votes of a published set."""
    found = []
    with gzip.open(data_root / f"pref-{name}" / "comparisons.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            for each in row["comparisons"]:
                pair = each.get("pair", (each["a"], each["b"]))
                found.append(Vote(row["id"], pair, each["annotator"], each["winner"]))
    return found


def value(estimate: Estimate) -> float:
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < estimate.value < estimate.high
    return estimate.value


def test_pandalms_published_figures_come_out(data_root: Path) -> None:
    votes = votes_of(data_root, "pandalm-3annotators")
    names = [("annotator1", "annotator2"), ("annotator1", "annotator3"), ("annotator2", "annotator3")]
    assert [round(agreement.kappa(votes, *pair), 3) for pair in names] == [0.864, 0.884, 0.865]
    assert round(value(agreement.alpha(votes)), 3) == 0.871
    assert round(agreement.unanimous(votes, 3), 3) == 0.886


def test_mt_benchs_published_figures_come_out(data_root: Path) -> None:
    votes = votes_of(data_root, "mtbench-human")
    people = [vote for vote in votes if vote.labeler.startswith("human:")]
    model = [vote for vote in votes if vote.labeler == "model:gpt-4"]
    assert round(value(agreement.pairwise(people)), 3) == 0.830
    assert round(value(agreement.pairwise(people, ties=True)), 3) == 0.637
    assert round(value(agreement.between(model, people)), 3) == 0.862
    assert round(value(agreement.between(model, people, ties=True)), 3) == 0.680


def test_the_crowds_published_figures_come_out(data_root: Path) -> None:
    votes = votes_of(data_root, "llmfao-crowd")
    assert round(value(agreement.alpha(votes)), 3) == 0.263
    assert round(value(agreement.pairwise(votes, ties=True)), 3) == 0.509
    assert round(value(agreement.pairwise(votes)), 3) == 0.696


def vote(item: int, labeler: str, said: str) -> Vote:
    return Vote(str(item), 0, labeler, said)  # type: ignore[arg-type]


def test_a_small_table_by_hand() -> None:
    votes = [vote(1, "x", "a"), vote(1, "y", "a"), vote(1, "z", "b"), vote(2, "x", "tie"), vote(2, "y", "a")]
    assert agreement.pairwise(votes).value == pytest.approx(1 / 3)
    assert agreement.pairwise(votes, ties=True).value == pytest.approx(1 / 4)
    assert agreement.between(votes[:1], votes[1:3]).value == pytest.approx(1 / 2)
    assert agreement.unanimous(votes, 2) == 0


def test_kappa_by_hand() -> None:
    said = [("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15
    votes = [vote(n, who, each) for n, pair in enumerate(said) for who, each in zip("xy", pair, strict=True)]
    assert agreement.kappa(votes, "x", "y") == pytest.approx(0.4)
    assert np.isnan(agreement.kappa(votes, "x", "nobody"))


def test_scores_agree_ordinally() -> None:
    ones, others = [1, 2, 3, 5, 7, 4], [1, 3, 3, 4, 7, 5]
    ratings = [
        Rating(str(n), 0, who, score) for who, scores in (("x", ones), ("y", others)) for n, score in enumerate(scores)
    ]
    expected = krippendorff.alpha(reliability_data=[ones, others], level_of_measurement="ordinal")
    assert agreement.rating_alpha(ratings, "ordinal").value == pytest.approx(expected)


def test_tau_b_counts_ties_and_skips_what_was_not_compared() -> None:
    same = {0: 0, 1: 1, 2: 2}
    orders = {
        "1": {"x": same, "y": same},
        "2": {"x": same, "y": {0: 2, 1: 1, 2: 0}},
        "3": {"x": same, "y": {0: 0, 1: 0, 2: 0}},
        "4": {"x": same, "y": {0: 0, 1: 0, 2: 1}},
        "5": {"x": same, "y": {0: 0}},
    }
    tied = 2 / np.sqrt(3 * 2)
    assert agreement.tau_b(orders).value == pytest.approx((1 - 1 + tied) / 3)


def test_nothing_gives_no_figure() -> None:
    alone = [vote(1, "x", "a")]
    for found in (agreement.pairwise(alone), agreement.alpha(alone), agreement.tau_b({}), agreement.pairwise([])):
        assert found.value is None
    assert agreement.alpha([vote(1, "x", "a"), vote(1, "y", "a")]).value is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 60 samples with a true agreement of 0.58, a 95 % interval may miss a few."""
    rng, covered = random.Random(0), 0
    for trial in range(60):
        votes = [vote(n, who, "a" if rng.random() < 0.7 else "b") for n in range(100) for who in "xyz"]
        found = agreement.pairwise(votes, seed=trial)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7**2 + 0.3**2 <= found.high
    assert 52 <= covered <= 60


def test_the_same_seed_gives_the_same_interval() -> None:
    votes = [vote(n, who, "a" if (n * 7 + len(who)) % 3 else "b") for n in range(40) for who in ("x", "yy")]
    assert agreement.pairwise(votes, seed=3) == agreement.pairwise(votes, seed=3)
    assert agreement.alpha(votes, seed=3) == agreement.alpha(votes, seed=3)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_from_coincidences_is_the_librarys(level: agreement.Level) -> None:
    table = np.random.default_rng(0).multinomial(4, [0.1, 0.1, 0.2, 0.1, 0.2, 0.2, 0.1], size=50)
    table[::3] = np.minimum(table[::3], 1)
    table = table[table.sum(axis=1) > 1]
    expected = krippendorff.alpha(value_counts=table, value_domain=list(range(7)), level_of_measurement=level)
    found = agreement.alpha_of(agreement.coincidences(table)[None], level)
    assert found[0] == pytest.approx(expected)
    alone = agreement.alpha_of(np.diag([5.0, 0.0])[None], "nominal")
    assert np.isnan(alone[0])
