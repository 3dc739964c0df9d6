import json

import pytest

from feedback.inert import INSTEAD, JOINER
from serve.asking.inert import inert
from serve.asking.limits import Asked, Kind, check
from serve.settings import ServeSettings

CONTROLS = frozenset({"<eos>", "<|im_start|>", "<|user|>"})


def ask(kind: Kind = "chat", **fields: object) -> Asked:
    """Check a request."""
    return check(json.dumps({"model": "live", **fields}).encode(), kind, ServeSettings())


def said(text: str, controls: frozenset[str] = CONTROLS) -> str:
    """Return what is left of one message's text; the record must hold the same."""
    asked = inert(ask(messages=[{"role": "user", "content": text}]), controls)
    forwarded: str = asked.forward["messages"][0]["content"]
    assert asked.messages[0].content == forwarded
    return forwarded


def test_text_without_control_tokens_is_untouched() -> None:
    asked = ask(messages=[{"role": "user", "content": "a < b, <eo s>, [INST] and </s>"}])
    assert inert(asked, CONTROLS) is asked


def test_a_control_token_gets_a_joiner_after_its_first_character() -> None:
    assert said("x<eos><|user|>y") == f"x<{JOINER}eos><{JOINER}|user|>y"
    assert said("x<eos>y").replace(JOINER, "") == "x<eos>y"


@pytest.mark.parametrize("text", ["<eos>", "<<eos>", "<eos", "<eos><eos>" * 50, "<|im_<eos>start|>", "<\u2060eos>"])
def test_no_control_token_is_left(text: str) -> None:
    assert not any(token in said(text) for token in CONTROLS)


def test_spellings_that_overlap_are_all_broken() -> None:
    left = said("abcd" * 3, frozenset({"ab", "bc", "cda", "abc"}))
    assert not any(token in left for token in ("ab", "bc", "cda", "abc"))


def test_a_token_of_one_character_is_replaced() -> None:
    assert said("a\x02b", frozenset({"\x02"})) == f"a{INSTEAD}b"
    assert said(f"a{INSTEAD}b", frozenset({INSTEAD, ""})) == f"a{INSTEAD}b"


def test_a_raw_prompt_goes_as_it_came_and_is_recorded_inert() -> None:
    asked = inert(ask("text", prompt=["<eos>a", "b"]), CONTROLS)
    assert asked.forward["prompt"] == ["<eos>a", "b"]
    assert [prompt[0].content for prompt in asked.prompts] == [f"<{JOINER}eos>a", "b"]


def test_a_prompt_of_token_ids_stays() -> None:
    asked = ask("text", prompt=[1, 2])
    assert inert(asked, CONTROLS) is asked


def test_without_control_tokens_nothing_changes() -> None:
    asked = ask(messages=[{"role": "user", "content": "<eos>"}])
    assert inert(asked, frozenset()) is asked
