"""An engine without a model, for tests of what surrounds engines."""

from collections.abc import Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric
from starlette.types import Receive, Scope, Send

from feedback.errors import EngineError
from feedback.records import Message
from serve.engines.base import Token


class FakeEngine:
    """Holds a version, remembers what it was told, fails where a test wants it to."""

    def __init__(self, path: Path, version: str) -> None:
        self.path = path
        self.version = version
        self.dead = False
        self.progress = 0
        self.controls = frozenset({"<eos>", "<|user|>"})
        self.tokenizer_path = path
        self.fails = False
        self.says = [Token(id=7, logprob=-0.5), Token(id=8, logprob=-1.5)]
        self.loads: list[str] = []

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    async def load(self, path: Path, version: str, deadline_s: float) -> None:
        if self.fails:
            raise EngineError("the fake was told to fail")
        self.path, self.version = path, version
        self.loads.append(version)

    async def greedy(self, prompt: list[Message] | list[int], max_tokens: int) -> list[Token]:
        if self.dead:
            raise EngineError("the fake is dead")
        return self.says[:max_tokens]

    def metrics(self) -> Iterable[Metric]:
        return []

    async def kill(self) -> None:
        self.dead = True

    async def close(self) -> None:
        self.dead = True


async def start_fake(path: Path, version: str) -> FakeEngine:
    """Start a fake engine."""
    return FakeEngine(path, version)
