"""What serving asks of an inference engine; knows no engine by name.

An engine holds the weights of exactly one policy version at a time. It is driven from one event loop.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from prometheus_client.metrics_core import Metric
from starlette.types import ASGIApp

from feedback.records import Message


@dataclass
class Transcript:
    """What an engine said to one prompt, written by the engine while it speaks; of n answers the first.

    Put a list with one for each prompt of a request into `TRANSCRIPTS` before the engine's ``app`` is called and read
    it afterwards.
    """

    text: str = ""
    finish_reason: str = ""
    """Empty until the answer ended; stays empty when it was broken off."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sampled_tokens: int = 0
    """Tokens of all n answers."""
    versions: set[str] = field(default_factory=set)
    """Versions of the weights that produced the answer's tokens; more than one would be a mixed answer."""


TRANSCRIPTS: ContextVar[list[Transcript] | None] = ContextVar("transcripts", default=None)


@dataclass(frozen=True)
class Token:
    """One greedily decoded token and its log-probability in nats."""

    id: int
    logprob: float


class Engine(Protocol):
    """A running inference engine."""

    @property
    def app(self) -> ASGIApp:
        """The engine's own OpenAI application: POST /v1/chat/completions and /v1/completions.

        Body ``model`` must be the loaded version, ``priority`` orders what waits inside (lower first), header
        ``x-request-id`` becomes the answer's id. Never buffers a stream; aborts generation when ``receive`` reports a
        disconnect. Fills the `TRANSCRIPTS` of its context.
        """
        ...

    @property
    def dead(self) -> bool:
        """True once the engine's process is gone; it never recovers, only `close` is legal."""
        ...

    @property
    def progress(self) -> int:
        """A number that grows with everything that the engine gives; one that stands still under work hangs."""
        ...

    @property
    def controls(self) -> frozenset[str]:
        """Spellings that the tokenizer reads as one token each and that have a meaning in a chat, roles above all."""
        ...

    @property
    def tokenizer_path(self) -> Path:
        """Directory of the policy whose tokenizer is in use."""
        ...

    async def load(self, path: Path, version: str, deadline_s: float) -> None:
        """Replace the weights by those under ``path`` and answer as ``version`` from now on.

        Changes weights, served name and version stamp, and empties the prefix cache. The caller keeps requests away
        for the duration; requests aborted just before may take up to ``deadline_s`` to leave the engine.

        Raises:
            EngineError: the engine refused; what it holds now is unknown, so it must load again before it answers.
        """
        ...

    async def greedy(self, prompt: list[Message] | list[int], max_tokens: int) -> list[Token]:
        """Return the greedy continuation of a prompt, messages through the policy's chat template.

        Raises:
            EngineError: the engine could not generate, or a log-probability is not finite.
        """
        ...

    def metrics(self) -> Iterable[Metric]:
        """Return the engine's own metrics, read now."""
        ...

    async def kill(self) -> None:
        """End the engine's processes at once, whatever they do: it is dead, what it was answering fails."""
        ...

    async def close(self) -> None:
        """End the engine and its processes; safe to call twice."""
        ...
