"""Rectangles of tokens and orders of rows."""

import random

import pytest

from trainer.data.batches import EpochOrder, by_tokens, by_total, pad


def test_masks_tell_padding_prompt_and_completion_apart() -> None:
    batch = pad([[5, 6, 7, 2], [8, 2]], 0, [2, 1])
    assert batch.input_ids_BT.tolist() == [[5, 6, 7, 2], [8, 2, 0, 0]]
    assert batch.attention_mask_BT.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.target_mask_BT.tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]


def test_left_padding_moves_everything_to_the_right() -> None:
    batch = pad([[5, 6, 7], [8, 2]], 0, [1, 1], left=True)
    assert batch.input_ids_BT.tolist() == [[5, 6, 7], [0, 8, 2]]
    assert batch.attention_mask_BT.tolist() == [[1, 1, 1], [0, 1, 1]]
    assert batch.target_mask_BT.tolist() == [[0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("sequences", [[], [[]], [[1], []]])
def test_empty_sequence_is_refused(sequences: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        pad(sequences, 0)


def test_groups_hold_every_row_once_within_the_budget() -> None:
    generator = random.Random(0)
    for _ in range(50):
        lengths = [generator.randint(1, 40) for _ in range(generator.randint(1, 60))]
        groups = list(by_tokens(lengths, 64))
        assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
        assert all(max(lengths[row] for row in group) * len(group) <= 64 or len(group) == 1 for group in groups)


def test_row_longer_than_the_budget_comes_alone() -> None:
    assert list(by_tokens([100, 1, 1], 10)) == [[0], [1, 2]]


def test_items_of_several_sequences_count_them_all() -> None:
    generator = random.Random(1)
    for _ in range(50):
        items = [(generator.randint(1, 40), generator.randint(2, 9)) for _ in range(20)]
        groups = list(by_tokens([width for width, _ in items], 400, [rows for _, rows in items]))
        assert sorted(item for group in groups for item in group) == list(range(20))
        for group in groups:
            tokens = max(items[item][0] for item in group) * sum(items[item][1] for item in group)
            assert tokens <= 400 or len(group) == 1


def test_totals_stay_within_the_budget_and_large_items_come_alone() -> None:
    generator = random.Random(2)
    for _ in range(50):
        tokens = [generator.randint(1, 90) for _ in range(generator.randint(1, 40))]
        groups = list(by_total(tokens, 64))
        assert sorted(item for group in groups for item in group) == list(range(len(tokens)))
        assert all(sum(tokens[item] for item in group) <= 64 or len(group) == 1 for group in groups)
        assert [tokens[item] for group in groups for item in group] == sorted(tokens, reverse=True)
    assert list(by_total([], 5)) == []


def test_every_row_comes_once_an_epoch_and_the_last_batch_is_small() -> None:
    order = EpochOrder(10, 4, seed=1)
    assert order.batches_per_epoch == 3
    epochs = [[order.next() for _ in range(3)] for _ in range(2)]
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[4, 4, 2]] * 2
    assert all(sorted(row for batch in epoch for row in batch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_rows_of_similar_length_share_a_batch_and_none_is_lost() -> None:
    generator = random.Random(0)
    lengths = [generator.randint(1, 100) for _ in range(1003)]
    order = EpochOrder(1003, 10, seed=0, lengths=lengths)
    batches = [order.next() for _ in range(order.batches_per_epoch)]
    assert sorted(row for batch in batches for row in batch) == list(range(1003))
    padding = sum(max(lengths[row] for row in batch) * len(batch) for batch in batches) / sum(lengths) - 1
    assert padding < 0.1
    means = [sum(lengths[row] for row in batch) / len(batch) for batch in batches]
    assert means != sorted(means)


@pytest.mark.parametrize("lengths", [None, [5, 1, 4, 1, 5, 9, 2, 6, 5, 3]])
def test_cursor_resumes_the_order(lengths: list[int] | None) -> None:
    order = EpochOrder(10, 3, seed=1, lengths=lengths)
    expected = [order.next() for _ in range(9)]
    resumed = EpochOrder(10, 3, seed=1, lengths=lengths)
    resumed.cursor = 5
    assert [resumed.next() for _ in range(4)] == expected[5:]
