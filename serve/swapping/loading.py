"""How a version gets into a slot: its files are checked, the engine loads it, a probe confirms it; only then it opens.

Knows the order of the checks; does not decide which version goes where, or who is live.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feedback.errors import SwapFailed
from serve.engines.slot import Slot
from serve.settings import ServeSettings
from serve.swapping import probe, weights
from serve.swapping.registry import Registry
from serve.swapping.weights import Shape


@dataclass(frozen=True)
class Prepared:
    """A version whose files were checked."""

    version: str
    path: Path
    shape: Shape


class Loader:
    """Loads one version at a time; all slots hold policies of one shape."""

    def __init__(self, settings: ServeSettings, registry: Registry, slots: Sequence[Slot]) -> None:
        self._settings = settings
        self._registry = registry
        self._slots = slots
        self._shape: Shape | None = None
        """Shape of the policies that the running engines were started for."""

    async def prepare(self, version: str) -> Prepared:
        """Find a policy and check its files from end to end; no slot is touched.

        Raises:
            SwapFailed: the files are not what they should be.
            NotFound: the registry does not know the version.
            LedgerUnavailable: the registry cannot be asked.
        """
        policy, path = await self._registry.policy(version)
        return Prepared(version, path, await asyncio.to_thread(weights.inspect, path, policy.sha256))

    async def put(self, slot: Slot, prepared: Prepared, *, serving: bool) -> None:
        """Make the slot hold a prepared version, checked by its probe and open.

        Args:
            slot: not live, or behind a shut gate.
            prepared: what to load.
            serving: some slot answers, so that engines cannot be started anew for a policy of another shape.

        Raises:
            SwapFailed: the shape does not fit, or the engine's answers are not what they should be; then the slot
                stays shut.
            SwapDeferred: the slot did not finish its requests in time; it answers as before.
            EngineError: the engine failed; the slot stays shut.
        """
        if self._shape is not None and (parts := self._shape.differences(prepared.shape)):
            if serving:
                raise SwapFailed(
                    f"{prepared.version} differs from the live policy in {', '.join(parts)}; restart to serve it"
                )
            await asyncio.gather(*(each.clear() for each in self._slots))  # nobody is answered, so start over
        settings = self._settings
        engine = await slot.put(prepared.path, prepared.version, settings.drain_deadline_s, settings.load_deadline_s)
        self._shape = prepared.shape
        try:
            async with asyncio.timeout(settings.load_deadline_s):
                await probe.verify(engine, prepared.path, settings.probe_tolerance)
        except TimeoutError as error:
            await slot.give_up("probe stalled")
            raise SwapFailed(f"{prepared.version} was not probed within {settings.load_deadline_s:g} s") from error
        except BaseException:
            slot.refuse()
            raise
        slot.open(prepared.version)
