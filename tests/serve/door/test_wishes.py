"""What callers may ask for in headers."""

import pytest
from starlette.datastructures import Headers

from serve.door.wishes import Wishes, read
from serve.errors import InvalidRequest


def wishes(**headers: str) -> Wishes:
    return read(Headers({name.replace("_", "-"): value for name, value in headers.items()}), 120, 600)


def test_nothing_said_is_consent_and_the_usual_deadline() -> None:
    assert wishes() == Wishes(consent=True, deadline_s=120, background=False, conversation="")


def test_all_can_be_said() -> None:
    said = wishes(x_whetstone_consent=" No ", x_deadline_s="2.5", x_priority="background", x_conversation_id="c-1")
    assert said == Wishes(consent=False, deadline_s=2.5, background=True, conversation="c-1")


def test_a_long_deadline_is_cut() -> None:
    assert wishes(x_deadline_s="1000000000").deadline_s == 600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Whetstone-Consent", "maybe"),
        ("X-Deadline-S", "0"),
        ("X-Deadline-S", "-1"),
        ("X-Deadline-S", "soon"),
        ("X-Deadline-S", "nan"),
        ("X-Deadline-S", "inf"),
        ("X-Priority", "high"),
        ("X-Conversation-Id", "c" * 129),
        ("X-Conversation-Id", "a\x07b"),
    ],
)
def test_anything_else_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=name) as refused:
        wishes(**{name.replace("-", "_"): value})
    assert refused.value.param == name
