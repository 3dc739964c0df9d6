"""Figures of agreement by hand, and length bias that must show."""

import math
import random

import pytest

from trainer.maths.pair_report import (
    JudgedPrompt,
    bootstrap_interval,
    by_key,
    calibration_error,
    log_loss,
    report,
    spearman,
    tie_calibration,
)


def prompt(rewards: list[float], pairs: list[tuple[int, int]], lengths: list[int] | None = None) -> JudgedPrompt:
    return JudgedPrompt(rewards=rewards, lengths=lengths or [1] * len(rewards), pairs=pairs)


def test_accuracy_counts_pairs_and_per_prompt_counts_prompts() -> None:
    found = report([prompt([2.0, 1.0, 0.0], [(0, 1), (0, 2), (1, 2)]), prompt([0.0, 1.0], [(0, 1)])])
    assert (found["prompts"], found["pairs"]) == (2, 4)
    assert found["accuracy"] == 0.75
    assert found["accuracy_per_prompt"] == 0.5
    assert found["low"] <= 0.75 <= found["high"]


def test_equal_rewards_are_half_right() -> None:
    assert report([prompt([1.0, 1.0], [(0, 1)])])["accuracy"] == 0.5


def test_no_pair_gives_counts_only() -> None:
    assert report([prompt([1.0, 2.0], [])]) == {"prompts": 0, "pairs": 0}


def test_log_loss_by_hand_and_far_out() -> None:
    assert math.isclose(log_loss(0.0), math.log(2))
    assert math.isclose(log_loss(1.0), math.log(1 + math.exp(-1)))
    assert log_loss(-1000.0) == 1000.0
    assert log_loss(1000.0) == 0.0


def test_calibration_by_hand() -> None:
    # Two pairs at confidence 0.75, one right: off by 0.25. One pair surely right: off by nothing.
    gap = math.log(3)
    assert math.isclose(calibration_error([gap, -gap]), 0.25, rel_tol=1e-9)
    assert math.isclose(calibration_error([gap, -gap, 1000.0, 1000.0]), 0.125, rel_tol=1e-9)


def test_labels_drawn_from_the_models_own_probabilities_are_calibrated() -> None:
    generator = random.Random(0)
    gaps = []
    for _ in range(20_000):
        gap = generator.gauss(0, 2)
        chosen = generator.random() < 1 / (1 + math.exp(-gap))
        gaps.append(gap if chosen else -gap)
    assert calibration_error(gaps) < 0.01
    assert calibration_error([3 * gap for gap in gaps]) > 0.08


def test_rank_correlation_by_hand() -> None:
    assert spearman([1, 2, 3], [10, 20, 90]) == 1.0
    assert spearman([1, 2, 3], [3, 2, 1]) == -1.0
    assert spearman([1, 1], [1, 2]) is None
    # Ties share the mean rank: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    assert math.isclose(spearman([1, 2, 2, 3], [1, 2, 3, 4]) or 0, 4.5 / math.sqrt(4.5 * 5))


def test_reward_that_counts_words_is_seen_as_length_bias() -> None:
    generator = random.Random(0)
    prompts = []
    for _ in range(200):
        lengths = [generator.randint(1, 100) for _ in range(4)]
        order = sorted(range(4), key=lambda index: -lengths[index])
        pairs = [(a, b) for n, a in enumerate(order) for b in order[n + 1 :] if lengths[a] != lengths[b]]
        rewards = [length / 10 + generator.gauss(0, 1) for length in lengths]
        prompts.append(prompt(rewards, pairs, lengths))
    found = report(prompts, bootstrap=50)
    assert found["always_longer"] == 1.0
    assert found["labels_favour"] == "longer"
    assert found["length_spearman"] > 0.8
    assert found["length_spearman_within_prompts"] > 0.8
    honest = [prompt([generator.gauss(0, 1) for _ in p.rewards], list(p.pairs), list(p.lengths)) for p in prompts]
    assert abs(report(honest, bootstrap=50)["length_spearman"]) < 0.1
    flipped = [prompt(list(p.rewards), [(b, a) for a, b in p.pairs], list(p.lengths)) for p in prompts]
    assert report(flipped, bootstrap=50)["labels_favour"] == "shorter"
    fair = [
        prompt(list(p.rewards), [pair if generator.random() < 0.5 else pair[::-1] for pair in p.pairs], list(p.lengths))
        for p in prompts
    ]
    assert report(fair, bootstrap=50)["labels_favour"] is None


def test_liking_length_more_than_labelers_do_is_told_from_labelers_who_like_length() -> None:
    generator = random.Random(2)
    fair, biased, lengthy = [], [], []
    for _ in range(300):
        lengths = [generator.randint(1, 100) for _ in range(4)]
        worth = [generator.gauss(0, 1) for _ in range(4)]
        pairs = [(a, b) for a in range(4) for b in range(4) if worth[a] > worth[b]]
        by_length = [(a, b) for a in range(4) for b in range(4) if lengths[a] > lengths[b]]
        fair.append(prompt([each + generator.gauss(0, 1) for each in worth], pairs, lengths))
        biased.append(prompt([w + n / 40 for w, n in zip(worth, lengths, strict=True)], pairs, lengths))
        lengthy.append(prompt([n + generator.gauss(0, 9) for n in lengths], by_length, lengths))
    found = [report(each, bootstrap=200) for each in (fair, biased, lengthy)]
    assert found[0]["length_bias_low"] < 0 < found[0]["length_bias_high"]
    assert found[1]["length_bias_low"] > 0.05
    assert found[2]["length_bias_high"] <= 0
    assert found[2]["always_longer"] == 1.0
    assert found[2]["length_spearman_within_prompts"] > 0.8


def test_length_bias_by_hand() -> None:
    # Labelers: longer, shorter, equal length. Rewards: longer, longer, whichever.
    found = report([prompt([3.0, 2.0, 9.0], [(0, 1), (1, 2), (0, 1)], [5, 4, 7]), prompt([1.0, 0.0], [(0, 1)])])
    assert found["length_bias"] == 1 / 4


def test_rewards_of_beginnings_are_counted_apart() -> None:
    cut = JudgedPrompt(rewards=[2.0, 1.0, 0.0], lengths=[1] * 3, pairs=[(0, 1), (2, 0)], finished=[True, True, False])
    found = report([cut])
    assert (found["accuracy"], found["unfinished_pairs"], found["accuracy_finished"]) == (0.5, 1, 1.0)
    never = JudgedPrompt(rewards=[2.0, 1.0], lengths=[1, 1], pairs=[(0, 1)], finished=[False, True])
    assert report([never])["accuracy_finished"] is None


def test_ties_drawn_from_the_predicted_shares_are_calibrated() -> None:
    generator = random.Random(0)

    def share(gap: float) -> float:
        return 0.6 * math.exp(-abs(gap))

    judged = []
    for _ in range(4000):
        gap = generator.gauss(0, 1.5)
        tied = generator.random() < share(gap)
        pair = [(0, 1)]
        judged.append(
            JudgedPrompt(rewards=[gap, 0.0], lengths=[1, 1], pairs=[] if tied else pair, ties=pair if tied else [])
        )
    found = tie_calibration(judged, share)
    assert found["judgements"] == 4000
    assert abs(found["predicted"] - found["observed"]) < 0.02
    assert found["calibration_error"] < 0.03
    assert found["log_loss"] < found["log_loss_of_share"]
    assert tie_calibration(judged, lambda gap: 0.9)["calibration_error"] > 0.3
    assert tie_calibration([], share) == {"judgements": 0}


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = random.Random(1)
    covered = 0
    for trial in range(200):
        hits = [(float(sum(generator.random() < 0.7 for _ in range(6))), 6) for _ in range(50)]
        low, high = bootstrap_interval(hits, 200, seed=trial)
        covered += low <= 0.7 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_groups_are_reported_one_by_one() -> None:
    prompts = [prompt([1.0, 0.0], [(0, 1)]), prompt([0.0, 1.0], [(0, 1)]), prompt([0.0, 1.0], [(0, 1)])]
    found = by_key(prompts, ["a", "b", None], report)
    assert {name: figures["accuracy"] for name, figures in found.items()} == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize("seed", range(5))
def test_order_of_prompts_and_pairs_changes_no_figure(seed: int) -> None:
    generator = random.Random(seed)
    prompts = [
        prompt([generator.gauss(0, 1) for _ in range(4)], [(0, 1), (2, 3), (1, 3)], [3, 1, 4, 1]) for _ in range(20)
    ]
    shuffled = [prompt(list(p.rewards), generator.sample(p.pairs, 3), list(p.lengths)) for p in prompts]
    generator.shuffle(shuffled)
    first, second = report(prompts, bootstrap=10), report(shuffled, bootstrap=10)
    for key in ("accuracy", "accuracy_per_prompt", "log_loss", "calibration_error", "length_spearman"):
        assert math.isclose(first[key], second[key], abs_tol=1e-12)
