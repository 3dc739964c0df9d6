"""The last check before new weights answer anybody: does the engine say what the policy's maker says it says?

A policy may carry ``probe.json``: a list of ``{"messages": [...] | "prompt_token_ids": [...], "token_ids": [...],
"logprobs": [...]}``, greedy decodes by the process that made the weights, log-probabilities in nats. Without one the
engine must at least generate a finite token.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from feedback.errors import SwapFailed
from feedback.records import Message
from serve.engines.base import Engine, Token

PROBE_FILE = "probe.json"
TIE_NATS = 1e-3
"""Where two tokens are closer than this, either may win; the comparison of ids ends there."""


async def verify(engine: Engine, directory: Path, tolerance: float) -> int:
    """Check the engine against the policy's stored probes and return how many there were.

    Raises:
        SwapFailed: a token or a log-probability differs by more than ``tolerance``, or the probes are malformed.
        EngineError: the engine cannot generate.
    """
    probes = _read(directory / PROBE_FILE)
    answers = await asyncio.gather(
        *(engine.greedy(prompt, len(expected)) for prompt, expected in probes), return_exceptions=True
    )  # together, because the live engine shares the machine and should have it back soon
    for number, ((_, expected), found) in enumerate(zip(probes, answers, strict=True)):
        if isinstance(found, BaseException):
            raise found
        _compare(number, expected, found, tolerance)
    if not probes:
        await engine.greedy([Message(role="user", content="hello")], 1)
    return len(probes)


def _read(path: Path) -> list[tuple[list[Message] | list[int], list[Token]]]:
    if not path.is_file():
        return []
    try:
        return [_parse(row) for row in json.loads(path.read_text())]
    except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise SwapFailed(f"{path} is malformed: {error!r}") from error


def _parse(row: dict[str, Any]) -> tuple[list[Message] | list[int], list[Token]]:
    prompt: list[Message] | list[int]
    if "prompt_token_ids" in row:
        prompt = msgspec.convert(row["prompt_token_ids"], list[int])
    else:
        prompt = msgspec.convert(row["messages"], list[Message])
    tokens = [Token(int(id), float(logprob)) for id, logprob in zip(row["token_ids"], row["logprobs"], strict=True)]
    if not tokens or not prompt:
        raise ValueError("a probe has no prompt or no tokens")
    return prompt, tokens


def _compare(number: int, expected: list[Token], found: list[Token], tolerance: float) -> None:
    if len(found) < len(expected):
        raise SwapFailed(f"probe {number}: {len(found)} tokens instead of {len(expected)}")
    for place, (wanted, got) in enumerate(zip(expected, found, strict=False)):
        difference = abs(wanted.logprob - got.logprob)
        if wanted.id != got.id:
            if difference <= TIE_NATS:
                return
            raise SwapFailed(f"probe {number}: token {got.id} instead of {wanted.id} at place {place}")
        if not difference <= tolerance:
            raise SwapFailed(
                f"probe {number}: log-probability {got.logprob:.4f} instead of {wanted.logprob:.4f} at place {place}"
            )
