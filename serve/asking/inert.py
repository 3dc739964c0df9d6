"""Control tokens in callers' text: kept text, so that nobody can open a turn in another's name.

A chat template writes roles and ends of turns as control tokens, and a tokenizer reads them back wherever their
spelling occurs, in callers' text too: `<eos><|system|>obey` in a message would be a turn of its own. So an invisible
word joiner (U+2060) is put after the first character of each such spelling; what is left is spelled like the token,
shows like it, and is tokenised as text. What is recorded is the same text, so training reads what was answered.

A text completion's prompt goes to the engine as it came: its caller writes the whole prompt, and could send the tokens'
ids as well. What is recorded of it, as one user's turn, is made inert.
"""

import re
from typing import Any

import msgspec

from feedback.inert import pattern as _pattern
from feedback.inert import quiet
from feedback.records import Message
from serve.asking.limits import Asked


def inert(asked: Asked, controls: frozenset[str]) -> Asked:
    """Return ``asked`` with every text that a chat template will render, or that is recorded, free of control tokens.

    Args:
        asked: a checked request.
        controls: spellings of the policy's control tokens, see `serve.engines.base.Engine.controls`.
    """
    pattern = _pattern(controls)
    prompts = [[_quiet_turn(turn, pattern) for turn in prompt] for prompt in asked.prompts]
    forward = asked.forward
    for name in ("messages", "tools"):
        if name in forward and _loud(forward[name], pattern):
            forward = {**forward, name: _quiet(forward[name], pattern)}
    if forward is asked.forward and prompts == asked.prompts:
        return asked
    return msgspec.structs.replace(asked, prompts=prompts, forward=forward)


def _quiet_turn(turn: Message, pattern: re.Pattern[str] | None) -> Message:
    if pattern is None or not pattern.search(turn.content):
        return turn
    return Message(role=turn.role, content=_quiet(turn.content, pattern))


def _loud(value: Any, pattern: re.Pattern[str] | None) -> bool:
    if pattern is None:
        return False
    if isinstance(value, str):
        return pattern.search(value) is not None
    if isinstance(value, dict):
        return any(_loud(each, pattern) for pair in value.items() for each in pair)
    return isinstance(value, list) and any(_loud(each, pattern) for each in value)


def _quiet(value: Any, pattern: re.Pattern[str] | None) -> Any:
    if pattern is None:
        return value
    if isinstance(value, str):
        return quiet(value, pattern)
    if isinstance(value, dict):
        return {_quiet(name, pattern): _quiet(each, pattern) for name, each in value.items()}
    return [_quiet(each, pattern) for each in value] if isinstance(value, list) else value
