"""The partition: no prompt on both sides, held-out labelers never trained on, groups of ties where ties are learned."""

import random
from dataclasses import replace

import pytest

from feedback.errors import DataError
from trainer.data.examples import PreferenceGroup
from trainer.data.partition import EXCLUDED, exclude, partition


def group(number: int, generator: random.Random, **changes: object) -> PreferenceGroup:
    made = PreferenceGroup(
        id=str(number),
        messages=[{"role": "user", "content": str(number)}],
        prompt_ids=[1, generator.randint(3, 300)],
        completions=[[5, 2], [6, 2]],
        finished=[True, True],
        pairs=[(0, 1)],
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_held_out_prompts_and_labelers_are_never_trained_on() -> None:
    generator = random.Random(3)
    groups = [
        group(1, generator, split="train", prompt_ids=[1, 10]),
        group(2, generator, split="train", prompt_ids=[1, 11], labeler_group="held-out"),
        group(3, generator, split="valid", prompt_ids=[1, 12]),
        group(4, generator, split="test", prompt_ids=[1, 10]),
        group(5, generator, split="train", prompt_ids=[1, 13], pairs=[]),
        group(6, generator, split="train", prompt_ids=[1, 14], labeler_group="training"),
    ]
    parts = partition(groups, 0.0)
    assert [each.id for each in parts.train] == ["1", "6"]
    assert [each.id for each in parts.valid] == ["2", "3"]
    assert parts.leaked == 1
    with pytest.raises(DataError, match="no row to train on"):
        partition(groups[1:3], 0.0)


def test_hash_split_shares_no_prompt() -> None:
    generator = random.Random(4)
    groups = [
        group(n, generator, messages=[{"role": "user", "content": str(n % 50)}], prompt_ids=[1, n % 50])
        for n in range(200)
    ]
    parts = partition(groups, 0.3)
    trained = {tuple(each.prompt_ids) for each in parts.train}
    assert trained.isdisjoint({tuple(each.prompt_ids) for each in parts.valid})
    assert len(parts.train) + len(parts.valid) == 200
    assert parts.valid


def test_a_group_of_ties_is_trained_on_only_where_ties_say_something() -> None:
    generator = random.Random(5)
    tied = group(1, generator, split="train", pairs=[], ties=[(0, 1)])
    silent = group(2, generator, split="train", pairs=[], prompt_ids=[1, 400])
    usual = group(3, generator, split="train", prompt_ids=[1, 401])
    assert [each.id for each in partition([tied, silent, usual], 0.0).train] == ["3"]
    assert [each.id for each in partition([tied, silent, usual], 0.0, ties=True).train] == ["1", "3"]


def test_excluded_labelers_are_never_trained_on_even_where_they_share_a_row() -> None:
    generator = random.Random(6)
    shared = group(1, generator, split="train", pairs=[(0, 1), (1, 0)], labelers=["ann", "bob"], first_shown=[1, -1])
    hers = group(2, generator, split="train", labelers=["ann"], prompt_ids=[1, 400])
    tied = group(3, generator, split="valid", pairs=[], ties=[(0, 1)], tie_labelers=["ann"], prompt_ids=[1, 401])
    nobody = group(4, generator, split="train", prompt_ids=[1, 402])
    rows = exclude([shared, hers, tied, nobody], ["ann"])
    assert [(row.id, row.split) for row in rows] == [
        ("1", "train"), ("1", EXCLUDED), ("2", EXCLUDED), ("3", EXCLUDED), ("4", "train")
    ]  # fmt: skip
    assert (rows[0].pairs, rows[0].labelers, rows[0].first_shown) == ([(1, 0)], ["bob"], [-1])
    assert (rows[1].pairs, rows[1].labelers, rows[1].first_shown) == ([(0, 1)], ["ann"], [1])
    parts = partition(rows, 0.0)
    assert [row.id for row in parts.train] == ["1", "4"]
    assert [row.id for row in parts.valid] == ["2", "3"]
    assert parts.leaked == 1, "her judgement of a prompt that is trained on is not reported either"
    assert exclude([nobody], []) == [nobody]
    with pytest.raises(DataError, match="no judgement by eve"):
        exclude(rows, ["eve"])
