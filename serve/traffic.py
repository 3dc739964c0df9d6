"""Which slot answers which model name: one pointer, moved between two requests.

A request keeps the slot that it entered, whatever the pointer does meanwhile. Driven from one event loop; knows no
HTTP and no ledger (the aliases are told to it).
"""

from collections.abc import Iterator, Mapping, Sequence

from feedback import metrics
from feedback.errors import EngineError, UnknownModel
from feedback.records import Message
from serve.engines.slot import Slot, SlotState

ALIASES = ("live", "previous", "candidate")
PROBE = [Message(role="user", content="hello")]


class Traffic:
    """The pointer and the aliases over a fixed set of slots."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = tuple(slots)
        self._live: Slot | None = None
        self._aliases: Mapping[str, str] = {}

    @property
    def slots(self) -> list[SlotState]:
        """What each slot looks like now."""
        return [slot.look() for slot in self._slots]

    @property
    def live_version(self) -> str:
        """The version that answers as ``live``; empty if none does."""
        return self._live.version if self._live is not None else ""

    @property
    def live_slot(self) -> Slot | None:
        """The slot that answers as ``live``."""
        return self._live

    def choose(self, name: str) -> Slot:
        """Return the slot that answers ``name``; enter it before the event loop turns.

        Args:
            name: an alias or an immutable version.

        Raises:
            EngineError: ``live`` is asked for and no slot is live.
            UnknownModel: no slot holds it; lists what is held.
        """
        if name == "live":
            if self._live is None:
                raise EngineError("no policy is live yet")
            return self._live
        slot = self.holding(self._aliases.get(name, "") if name in ALIASES else name)
        if slot is None:
            shown = name if len(name) <= 64 else f"{name[:61]}..."
            raise UnknownModel(f"no model {shown!r} is loaded here; loaded are: {', '.join(self.names()) or 'none'}")
        return slot

    async def enter(self, name: str, sticky: str) -> Slot:
        """Return the slot that answers ``name`` for this caller; hold it before the event loop turns.

        Args:
            name: an alias or an immutable version.
            sticky: whose choice this is (a conversation or a key): the same text gets the same version.

        Raises:
            EngineError: ``live`` is asked for and no slot is live.
            UnknownModel: no slot holds it.
        """
        return self.choose(name)

    def holding(self, version: str) -> Slot | None:
        """Return the ready slot that holds ``version``, the live one first."""
        candidates = sorted(self._slots, key=lambda slot: slot is not self._live)
        return next(
            (slot for slot in candidates if version and slot.version == version and slot.state == "ready"), None
        )

    def idle(self) -> Slot | None:
        """Return a slot that is not live and not being changed."""
        free = (slot for slot in self._slots if slot is not self._live and slot.state not in ("starting", "loading"))
        return min(free, key=lambda slot: slot.state == "empty", default=None)

    def names(self) -> Iterator[str]:
        """Yield the names that `choose` would accept now: aliases, then versions."""
        held = {slot.version for slot in self._slots if slot.state == "ready" and slot.version}
        if self._live is not None:
            yield "live"
        for alias in ALIASES[1:]:
            if self._aliases.get(alias) in held:
                yield alias
        yield from sorted(held)

    def know(self, aliases: Mapping[str, str]) -> None:
        """Take over where the ledger's aliases point (``live`` moves only by `point`)."""
        if aliases != self._aliases:
            self._aliases = dict(aliases)
            self.refresh()

    def point(self, slot: Slot | None) -> int:
        """Let ``slot`` answer as live from the next request on; return how many the old one still answers."""
        old, self._live = self._live, slot
        self.refresh()
        return old.in_flight if old is not None and old is not slot else 0

    async def probe(self) -> None:
        """Generate one token on the live slot.

        Raises:
            EngineError: there is none, or it cannot.
        """
        slot = self.choose("live")
        with slot.hold() as engine:
            await engine.greedy(PROBE, 1)

    def refresh(self) -> None:
        """Publish which slot holds what; called wherever that changed."""
        metrics.slot_version.clear()
        named = {version: alias for alias, version in self._aliases.items() if alias != "live"}
        for slot in self._slots:
            if slot.version:
                alias = "live" if slot is self._live else named.get(slot.version, "")
                metrics.slot_version.labels(slot.name, slot.version, alias).set(1)
