"""The order of the checks on the way into a slot; what each refuses is in `test_weights` and `test_probe`."""

import asyncio
from pathlib import Path

import pytest

from feedback import policies
from feedback.client import Ledger
from feedback.errors import EngineError, NotFound, SwapFailed
from serve.engines.slot import Slot
from serve.settings import ServeSettings
from serve.swapping import weights
from serve.swapping.loading import Loader
from serve.swapping.registry import Registry
from tests.builders import make_policy
from tests.serve.fakes import FakeEngine, start_fake

pytestmark = pytest.mark.redis
A, B = "policy-0001", "policy-0002"


class Shapes:
    """What `weights.inspect` says of each version's directory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of = {A: "one", B: "one"}
        monkeypatch.setattr(weights, "inspect", self._inspect)

    def _inspect(self, path: Path, sha256: str) -> weights.Shape:
        return weights.Shape(config=self.of[path.name], tokenizer="t", chat_template="t", tensors="t")


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> Shapes:
    return Shapes(monkeypatch)


def loader(ledger: Ledger, *slots: Slot) -> Loader:
    for version in (A, B):
        policies.register(ledger, make_policy(version, path=version))
    registry = Registry(ledger.url, "r1", Path("/nowhere"), list)
    return Loader(ServeSettings.load(drain_deadline_s=1, load_deadline_s=0.2), registry, slots)


def test_a_version_is_open_once_it_is_checked_loaded_and_probed(ledger: Ledger, shapes: Shapes) -> None:
    async def story() -> None:
        slot = Slot("a", start_fake)
        loads = loader(ledger, slot)
        prepared = await loads.prepare(A)
        assert slot.state == "empty"
        await loads.put(slot, prepared, serving=False)
        assert (slot.state, slot.version) == ("ready", A)
        with pytest.raises(NotFound):
            await loads.prepare("policy-0099")

    asyncio.run(story())


def test_another_shape_is_refused_while_something_answers_and_starts_over_otherwise(
    ledger: Ledger, shapes: Shapes
) -> None:
    async def story() -> None:
        first, second = Slot("a", start_fake), Slot("b", start_fake)
        loads = loader(ledger, first, second)
        await loads.put(first, await loads.prepare(A), serving=False)
        await loads.put(second, await loads.prepare(A), serving=True)
        shapes.of[B] = "two"
        with pytest.raises(SwapFailed, match="differs from the live policy in config"):
            await loads.put(second, await loads.prepare(B), serving=True)
        assert (first.version, second.version) == (A, A)
        await loads.put(second, await loads.prepare(B), serving=False)
        assert (first.state, second.version) == ("empty", B)

    asyncio.run(story())


def test_what_fails_its_probe_or_hangs_in_it_stays_shut(ledger: Ledger, shapes: Shapes) -> None:
    async def story() -> None:
        slot = Slot("a", start_fake)
        loads = loader(ledger, slot)
        await loads.put(slot, await loads.prepare(A), serving=False)
        engine = slot.engine
        assert isinstance(engine, FakeEngine)
        greedy = engine.greedy

        async def fail(*_: object) -> list[object]:
            raise EngineError("not finite")

        async def hang(*_: object) -> list[object]:
            await asyncio.sleep(60)
            return []

        engine.greedy = fail  # type: ignore[method-assign,assignment]
        with pytest.raises(EngineError):
            await loads.put(slot, await loads.prepare(B), serving=True)
        assert (slot.state, slot.version, engine.dead) == ("failed", "", False)
        engine.greedy = hang  # type: ignore[method-assign,assignment]
        with pytest.raises(SwapFailed, match="was not probed"):
            await loads.put(slot, await loads.prepare(B), serving=True)
        assert (slot.state, engine.dead) == ("failed", True)
        engine.greedy = greedy  # type: ignore[method-assign]

    asyncio.run(story())
