"""Spellings of control tokens in texts: broken up, so that nobody can open a turn in another's name.

A chat template writes roles and ends of turns as control tokens, and a tokenizer reads them back wherever their
spelling occurs. An invisible word joiner (U+2060) after the first character of such a spelling leaves text that looks
the same and is tokenised as text. Knows texts only; which spellings a tokenizer has is the caller's to say, and where
no tokenizer is at hand `USUAL` has those of the common ones.
"""

import re
from functools import lru_cache

JOINER = "\N{WORD JOINER}"
INSTEAD = "\N{REPLACEMENT CHARACTER}"
"""For a control token of a single character, which nothing can be put into."""
USUAL = re.compile(
    r"<[|\uff5c][^<>|\s]{1,40}[|\uff5c]>"
    r"|</?s>|<(?:bos|eos|pad|unk|mask|cls|sep|start_of_turn|end_of_turn|endoftext)>"
    r"|\[/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"
)
"""Control tokens as the common families of models spell them."""


@lru_cache(maxsize=16)
def pattern(controls: frozenset[str]) -> re.Pattern[str] | None:
    """Return the pattern of these spellings, the longest first; None if there are none."""
    longest_first = sorted(controls - {"", INSTEAD}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def quiet(text: str, spellings: re.Pattern[str] = USUAL) -> str:
    """Return a text in which none of the spellings is left; one that has none is returned as it is."""
    while spellings.search(text):  # what is left of one spelling can be part of another that overlapped it
        text = spellings.sub(_broken, text)
    return text


def _broken(found: re.Match[str]) -> str:
    token = found[0]
    return token[0] + JOINER + token[1:] if len(token) > 1 else INSTEAD
