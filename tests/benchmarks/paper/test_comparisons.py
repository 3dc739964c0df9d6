"""Comparisons are labelled as said, pairs are taken apart whole, and reward models are measured on other people's."""

import itertools
from collections import Counter

import pytest

from benchmarks.paper.arms import Place, found
from benchmarks.paper.comparisons import model_after, read_rows, shares
from benchmarks.paper.plan import BY_NAME
from sandbox.gold import judge
from sandbox.labelers import make_labelers


@pytest.mark.parametrize("K", range(4, 10))
def test_every_completion_has_a_writer(K: int) -> None:
    two, three = shares(K, ["base", "sft"]), shares(K, ["base", "sft", "ppo-first"])
    assert sum(two.values()) == sum(three.values()) == K
    assert two["base"] == three["base"] == K // 4
    assert min(three.values()) >= 1


def test_each_row_has_one_labeler_and_K_completions(quick: Place) -> None:
    rows = list(read_rows(quick.of("comparisons") / "train.jsonl"))
    sizes = [len(row["responses"]) for row in rows]
    assert set(sizes) <= set(range(quick.sizes.least_K, quick.sizes.most_K + 1))
    assert len(set(sizes)) > 1
    training = {labeler.name for labeler in make_labelers(0) if labeler.group == "training"}
    for row in rows:
        assert len({each["annotator"] for each in row["comparisons"]} & training) == 1


def test_pairs_are_all_decided_comparisons_each_once(quick: Place) -> None:
    whole = list(read_rows(quick.of("comparisons") / "train.jsonl"))
    apart = list(read_rows(quick.of("reward-pairs") / "pairs.jsonl"))

    def said(row: dict, each: dict) -> tuple[str, str, str, str]:  # type: ignore[type-arg]
        texts = [row["responses"][each[side]]["text"] for side in "ab"]
        return row["prompt"], texts[0], texts[1], each["winner"]

    wanted = Counter(said(row, each) for row in whole for each in row["comparisons"] if each["winner"] != "tie")
    found_pairs = Counter(said(row, row["comparisons"][0]) for row in apart)
    assert found_pairs == Counter({pair: n for pair, n in wanted.items() if pair[1] != pair[2]})
    assert all(len(row["responses"]) == 2 for row in apart)


def test_the_gold_ranking_is_the_gold_tastes(quick: Place) -> None:
    for row in read_rows(quick.of("comparisons") / "test-gold.jsonl"):
        scores = [judge(row["prompt"], each["text"], each["finished"]).score for each in row["responses"]]
        for each, (a, b) in zip(row["comparisons"], itertools.combinations(range(len(scores)), 2), strict=True):
            right = "tie" if scores[a] == scores[b] else "a" if scores[a] > scores[b] else "b"
            assert (each["a"], each["b"], each["winner"]) == (a, b, right)


def test_a_fold_trains_on_none_of_the_labels_that_it_is_tested_on(quick: Place) -> None:
    directory = quick.of("reward-fold-0")
    names = {part: {row["comparisons"][0]["annotator"] for row in read_rows(directory / f"{part}.jsonl")}
             for part in ("train", "test-own", "test-other")}  # fmt: skip
    assert not names["test-other"] & (names["train"] | names["test-own"])
    result = found(quick, BY_NAME["reward-fold-0"])
    assert result is not None
    assert 0.5 < result["figures"]["own_ceiling"] < 1


@pytest.mark.parametrize("arm", ["reward", "reward-pairs"])
def test_reward_models_are_measured_after_every_epoch(quick: Place, arm: str) -> None:
    result = found(quick, BY_NAME[arm])
    assert result is not None
    rows = result["series"]["epochs"]
    assert [row["epoch"] for row in rows] == list(range(1, quick.sizes.epochs + 1))
    assert result["figures"]["held_out_loss"] == rows[-1]["held_out_loss"]
    assert (model_after(quick.of(arm), 1) / "metrics.json").is_file()
