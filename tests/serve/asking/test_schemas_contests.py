"""Bodies about contests: bounds and names, refused before a route runs."""

from typing import Any

import msgspec
import pytest

from serve.asking.schemas_contests import ContestIn

VALID: dict[str, Any] = {"a": "live", "b": "policy-0007"}


def test_two_policies_are_enough() -> None:
    given = msgspec.convert(VALID, ContestIn)
    assert (given.prompts, given.overlap, given.reason) == (100, 3, "")


@pytest.mark.parametrize(
    "change",
    [
        {"a": "newest"},
        {"b": "policy-7"},
        {"a": None},
        {"prompts": 0},
        {"prompts": 5001},
        {"prompts": "10"},
        {"overlap": 0},
        {"overlap": 21},
        {"reason": "a\x00b"},
        {"group": "training"},
    ],
)
def test_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**VALID, **change}, ContestIn)
