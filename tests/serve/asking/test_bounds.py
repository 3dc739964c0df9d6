from typing import Any

import pytest

from serve.asking.bounds import Check, boolean, integer, mapping, number, one_of, short, text, unsupported
from serve.errors import InvalidRequest


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (integer(1, 3), [1, 3], [0, 4, True, 1.0, "1", None, 10**400]),
        (number(-1, 1), [-1, 0.5, 1], [-1.1, 2, True, "0", float("nan"), float("inf"), 10**400]),
        (number(0, 1, open_below=True), [1e-300, 1], [0, -0.0, 1.1]),
        (text(1, 3), ["a", "abc"], ["", "abcd", 5, None, ["a"]]),
        (boolean, [True, False], [0, 1, "true", None]),
        (one_of("a", "b"), ["a", "b"], ["c", "", 5, ["a"]]),
        (mapping, [{}, {"a": 1}], [[], "a", None]),
    ],
)
def test_values_within_bounds_pass_and_others_are_refused_by_name(
    check: Check, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        assert check("field", value) == value
    for value in bad:
        with pytest.raises(InvalidRequest, match=r"^field ") as caught:
            check("field", value)
        assert caught.value.param == "field"


def test_numbers_become_floats() -> None:
    assert type(number(0, 2)("field", 1)) is float


def test_an_object_has_known_names_and_not_too_many() -> None:
    assert mapping("field", {"a": 1}, only=("a", "b")) == {"a": 1}
    with pytest.raises(InvalidRequest) as caught:
        mapping("field", {"a": 1, "c": 1}, only=("a", "b"))
    assert (caught.value.param, caught.value.code) == ("field.c", "unsupported_parameter")
    with pytest.raises(InvalidRequest):
        mapping("field", {"a": 1, "b": 1}, most=1)


def test_a_hostile_name_is_cut() -> None:
    assert short("a" * 64) == "a" * 64
    assert len(short("a" * 65)) == 64


def test_what_is_not_supported_has_its_own_code() -> None:
    assert unsupported("echo").code == "unsupported_parameter"
