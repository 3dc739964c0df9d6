"""What the routes of a serving process work with: one of each, built at start, handed down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feedback.client import Ledger
    from serve.answering.battles import Battles
    from serve.asking.trials import Trials
    from serve.door.admission import Admission
    from serve.door.idempotency import Answers
    from serve.door.keycache import KeyCache
    from serve.door.quotas import Quotas
    from serve.recording.durable import Durable
    from serve.recording.recorder import Recorder
    from serve.settings import ServeSettings
    from serve.swapping.traffic import Traffic
    from serve.swapping.watchdog import Watchdog


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Handed to every ``make_router``.

    Attributes:
        settings: this process's settings.
        ledger: blocking calls (a thread each); may be down at any time.
        traffic: which slot answers which name. ``traffic.slots`` lists `SlotState` (slot, version, state, in_flight);
            ``await traffic.probe()`` generates one token on the live slot or raises `EngineError`.
        recorder: ``recorder.pending(interaction_id)`` returns an `Interaction` that is answered (or being written) but
            not in the ledger yet, else None.
        keys: looks API keys up; remembers them.
        battles: tells which version stands behind a side of a blind battle.
        admission: who is answered now, who waits, who is refused; ``admission.draining`` once the process is to end.
        quotas: what a key may still use.
        trials: tries schemas out before an engine sees them.
        answers: what was answered under which Idempotency-Key.
        watchdog: ``watchdog.stuck`` tells that an engine hangs and only a new process helps.
        durability: ``durability.demand()`` raises unless the ledger keeps what it acknowledges.
    """

    settings: ServeSettings
    ledger: Ledger
    traffic: Traffic
    recorder: Recorder
    keys: KeyCache
    battles: Battles
    admission: Admission
    quotas: Quotas
    trials: Trials
    answers: Answers
    watchdog: Watchdog
    durability: Durable
