"""Ids: typed, unique, in the order of their making."""

import time

import pytest

from feedback.ids import is_policy_version, made_at_s, new_id, policy_version


def test_an_id_names_its_kind() -> None:
    assert new_id("int").startswith("int_")


def test_ids_are_unique_and_later_ones_sort_after_earlier_ones() -> None:
    made = [new_id("lbl") for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert made == sorted(made)


def test_policy_versions_are_padded_and_grow_beyond_four_digits() -> None:
    assert policy_version(7) == "policy-0007"
    assert policy_version(12345) == "policy-12345"


@pytest.mark.parametrize("name", ["policy-0000", "policy-0123", "policy-12345"])
def test_versions_are_told_from_aliases(name: str) -> None:
    assert is_policy_version(name)


@pytest.mark.parametrize(
    "name", ["live", "previous", "candidate", "policy-12", "policy-", "xpolicy-0001", "policy-0001x"]
)
def test_aliases_and_near_misses_are_no_versions(name: str) -> None:
    assert not is_policy_version(name)


def test_a_version_with_a_line_end_is_no_version() -> None:
    assert not is_policy_version("policy-0001\n")


@pytest.mark.parametrize("prefix", ["int_", "chatcmpl-", ""])
def test_an_id_tells_when_it_was_made(prefix: str) -> None:
    before_s = time.time()
    made_s = made_at_s(prefix + new_id("x").removeprefix("x_"))
    assert made_s is not None
    assert before_s - 0.01 <= made_s <= time.time()


@pytest.mark.parametrize("id", ["", "int_1", "chatcmpl-" + "0" * 32, "x" + "0" * 12 + "7" + "0" * 19])
def test_other_ids_tell_nothing(id: str) -> None:
    assert made_at_s(id) is None
