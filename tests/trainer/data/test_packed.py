"""The layout of a packed row: every token once, at its position, found again by sequence and column."""

from __future__ import annotations

import random

import pytest
import torch

from trainer.data.packed import Packed, Stretch


def groups(seed: int) -> tuple[list[list[int]], list[list[list[int]]]]:
    generator = random.Random(seed)

    def draw(most: int) -> list[int]:
        return [generator.randrange(1, 99) for _ in range(generator.randint(1, most))]

    prompts = [draw(30) for _ in range(generator.randint(1, 8))]
    return prompts, [[draw(20) for _ in range(generator.randint(1, 9))] for _ in prompts]


def read(packed: Packed, number: int) -> tuple[list[int], list[int]]:
    length = int(packed.length_S[number])
    places = packed.at(torch.full((length,), number), torch.arange(length))
    return packed.input_ids_N[places].tolist(), packed.position_ids_N[places].tolist()


@pytest.mark.parametrize("seed", range(20))
def test_sequences_are_read_back_in_the_order_given(seed: int) -> None:
    prompts, completions = groups(seed)
    sequences = [p + c for p, own in zip(prompts, completions, strict=True) for c in own]
    shared, apart = Packed.of_groups(prompts, completions), Packed.of_sequences(sequences)
    for packed in (shared, apart):
        assert len(packed.length_S) == len(sequences)
        for number, sequence in enumerate(sequences):
            assert read(packed, number) == (sequence, list(range(len(sequence))))
        assert packed.input_ids_N[packed.last_S].tolist() == [sequence[-1] for sequence in sequences]
        stretches = [part for bucket in packed.buckets for part in (bucket.prefixes, bucket.branches) if part]
        assert sum(part.tokens for part in stretches) == len(packed.input_ids_N)
    assert len(apart.input_ids_N) == sum(map(len, sequences))
    assert len(shared.input_ids_N) == sum(map(len, prompts)) + sum(len(c) for own in completions for c in own)


def test_places_of_a_rectangle_of_columns() -> None:
    packed = Packed.of_groups([[7, 8, 9]], [[[1, 2], [3, 4]]])
    columns = torch.arange(5).expand(2, 5)
    places = packed.at(torch.tensor([[0], [1]]).expand(2, 5), columns)
    assert packed.input_ids_N[places].tolist() == [[7, 8, 9, 1, 2], [7, 8, 9, 3, 4]]
    assert places[0, :3].equal(places[1, :3]), "the prompt is there once"


def test_a_completion_without_tokens_ends_where_its_prompt_does() -> None:
    packed = Packed.of_groups([[5, 6], [7]], [[[], [1], []], [[], []]])
    assert packed.input_ids_N[packed.last_S].tolist() == [6, 1, 6, 7, 7]
    assert sorted(packed.input_ids_N.tolist()) == [1, 5, 6, 7]


def test_branches_see_their_prefix_and_what_came_before_in_themselves() -> None:
    (bucket,) = Packed.of_groups([[1, 2, 3], [4, 5]], [[[6], [7, 8]], [[9, 9], [10]]]).buckets
    seen = bucket.mask(torch.float32)[:, 0] == 0
    assert bucket.prefix_B.tolist() == [0, 0, 1, 1]
    assert seen[1].int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert seen[2].int().tolist() == [[1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    assert bucket.mask(torch.float64).dtype == torch.float64


def test_long_and_short_pieces_are_kept_apart() -> None:
    packed = Packed.of_sequences([[1] * length for length in (100, 3, 90, 71, 4, 69)])
    assert [bucket.prefixes.lengths_B.tolist() for bucket in packed.buckets] == [[100, 90, 71], [69], [4, 3]]


def test_pieces_of_one_length_need_no_places() -> None:
    assert Stretch([4, 4, 4]).place_n is None
    ragged = Stretch([3, 1])
    assert ragged.place_n is not None
    assert ragged.place_n.tolist() == [0, 1, 2, 3]
    assert Stretch([1, 3]).padding_m1.flatten().tolist() == [False, True, True, False, False, False]


@pytest.mark.parametrize("sequences", [[], [[]], [[1], []]])
def test_sequences_without_tokens_are_refused(sequences: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Packed.of_sequences(sequences)
