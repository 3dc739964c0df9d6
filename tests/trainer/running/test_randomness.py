"""Every generator goes on where it stood."""

import random

import numpy as np
import pytest
import torch

from trainer.running.randomness import random_state, restore_random_state, seed_everything


def draw(own: torch.Generator) -> list[float]:
    return [random.gauss(0, 1), np.random.normal(), torch.rand(1).item(), torch.rand(1, generator=own).item()]


def test_all_generators_go_on_where_they_stood() -> None:
    seed_everything(3)
    own = torch.Generator().manual_seed(4)
    draw(own)  # an odd number of normal deviates: half of a pair waits in the state
    state = random_state({"own": own})
    first, other = [draw(own) for _ in range(3)], torch.Generator()
    seed_everything(99)
    restore_random_state(state, {"own": other})
    assert [draw(other) for _ in range(3)] == first


def test_same_seed_same_numbers_whatever_its_size() -> None:
    seen = []
    for _ in range(2):
        seed_everything(2**40 + 1)
        seen.append(draw(torch.Generator().manual_seed(0)))
    assert seen[0] == seen[1]


def test_a_generator_that_was_not_saved_is_an_error() -> None:
    with pytest.raises(KeyError):
        restore_random_state(random_state({}), {"absent": torch.Generator()})
