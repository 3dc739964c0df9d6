"""The trainer service: watches the ledger and walks one round at a time.

Holds the right to run rounds (one trainer at a time, fenced), begins a round when the rules say so, goes on with an
unfinished one after a restart, and says what the next one waits for. Which rules there are is in
`trainer.rounds.triggers`, what a round does in `trainer.rounds.walk`; nothing here can move ``live``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Literal

from prometheus_client import start_http_server

from feedback import demonstrations, labels, log, metrics, policies, rounds, snapshots
from feedback.client import Ledger
from feedback.errors import LeaseLost, LedgerUnavailable, NotFound, WhetstoneError
from feedback.ids import new_id
from feedback.records import Outlook, Round, utc_now
from trainer.rounds.lease import Lease
from trainer.rounds.triggers import Situation, Verdict, decide
from trainer.rounds.walk import Walk
from trainer.rounds.work import Cancelled, Stopped, Work
from trainer.settings.service import TrainerSettings

logger = log.get(__name__)
OUTLOOK_EVERY_S = rounds.OUTLOOK_S / 3


class Service:
    """Runs rounds until it is told to stop."""

    def __init__(self, settings: TrainerSettings, ledger: Ledger) -> None:
        """Bind settings and ledger."""
        self.settings = settings
        self.ledger = ledger
        self.lease = Lease(ledger, settings.round_lease_s)
        self.stopping = threading.Event()
        self._counted: dict[str, tuple[int, int]] = {}
        self._said: Outlook | None = None

    def run(self) -> None:
        """Look, walk a round if one is due, look again; an unreachable ledger is waited for."""
        while not self.stopping.is_set():
            try:
                self.once()
            except LedgerUnavailable as error:
                logger.warning("ledger unavailable", error=str(error))
            self.stopping.wait(self.settings.trainer_poll_s)
        self.lease.let_go()

    def once(self) -> None:
        """Look once, and walk the round that runs or is due.

        Raises:
            LedgerUnavailable: the ledger does not answer; a round that runs goes on at the next look.
        """
        if self.stopping.is_set() or not self.lease.take():
            return
        try:
            record = rounds.current(self.ledger) or self._begin()
            if record is not None:
                self._walk(record)
        except LeaseLost as error:
            logger.warning("round lost", error=str(error))

    def situation(self) -> Situation:
        """Return the figures that the rules look at."""
        ended = [each for each in rounds.list_rounds(self.ledger) if each.state != "running"]
        written = demonstrations.count(self.ledger)
        return Situation(
            now=utc_now(),
            asked=rounds.requested(self.ledger),
            has_sft=any(policy.kind == "sft" for policy in policies.list_policies(self.ledger)),
            demonstrations=written,
            new_labels=labels.count(self.ledger) - self._used(ended, "ppo")[0],
            new_demonstrations=written - self._used(ended, "sft")[1],
            ended=ended,
        )

    def _used(self, ended: Sequence[Round], kind: str) -> tuple[int, int]:
        """Return how many (labels, demonstrations) the last round of this kind took note of.

        A failed round's count as new, so that it is tried again; a cancelled one's do not.
        """
        for each in reversed(ended):
            id = each.snapshot_id
            if each.kind != kind or each.state == "failed" or not id:
                continue
            if id not in self._counted:
                self._counted[id] = _counts(self.ledger, id)
            return self._counted[id]
        return 0, 0

    def _begin(self) -> Round | None:
        """Begin the round that is due, or say what the next one waits for."""
        found = self.situation()
        verdict = decide(self.settings, found)
        self._tell(found, verdict)
        if not verdict.kind:
            return None
        record = Round(
            id=new_id("rnd"), created_at=utc_now(), state="running", kind=verdict.kind, reason=verdict.reason
        )
        rounds.begin(self.ledger, record, self.lease.number)
        return record

    def _tell(self, found: Situation, verdict: Verdict) -> None:
        """Publish what the next round waits for, when it changes and before it is forgotten."""
        metrics.round_waiting.labels("labels").set(found.new_labels)
        metrics.round_waiting.labels("demonstrations").set(found.new_demonstrations)
        try:
            metrics.candidate_timestamp_seconds.set(policies.get(self.ledger, "candidate").created_at.timestamp())
        except NotFound:
            metrics.candidate_timestamp_seconds.set(0)
        new = Outlook(
            at=found.now,
            waits_for=list(verdict.waits_for),
            new_labels=found.new_labels,
            new_demonstrations=found.new_demonstrations,
        )
        old = self._said
        if old is None or _figures(old) != _figures(new) or (new.at - old.at).total_seconds() > OUTLOOK_EVERY_S:
            rounds.set_outlook(self.ledger, new)
            self._said = new

    def _walk(self, record: Round) -> None:
        """Walk a round to its end, unless it is stopped or lost on the way."""
        logger.info("round goes on" if record.stage else "round began", round=record.id, reason=record.reason)
        with self.lease.kept() as number:
            work = Work(
                self.settings,
                self.ledger,
                record,
                hold=lambda: self.lease.held and not self.stopping.is_set(),
                number=number,
            )
            try:
                done = Walk(work).run()
            except Stopped:
                logger.info("round interrupted", round=record.id)
            except Cancelled:
                self._end(work, "cancelled", "an operator cancelled it")
            except (LedgerUnavailable, LeaseLost):
                raise
            except (WhetstoneError, OSError) as error:
                self._end(work, "failed", str(error))
            else:
                metrics.rounds_total.labels("done").inc()
                logger.info("round done", round=done.id, version=done.version, seconds=done.seconds)
            finally:
                metrics.round_running.clear()
                metrics.round_moved_timestamp_seconds.set(0)

    def _end(self, work: Work, state: Literal["cancelled", "failed"], why: str) -> None:
        """Record that a round came to nothing."""
        work.update(state=state, error=why, progress={}, finished_at=utc_now())
        metrics.rounds_total.labels(state).inc()
        logger.error("round ended", round=work.record.id, state=state, stage=work.record.stage, error=why)


def _figures(outlook: Outlook) -> tuple[object, ...]:
    """Return what changes only when something happened: seconds that run down are no news."""
    return outlook.new_labels, outlook.new_demonstrations, [line.split(": ")[0] for line in outlook.waits_for]


def _counts(ledger: Ledger, snapshot_id: str) -> tuple[int, int]:
    snapshot = snapshots.get(ledger, snapshot_id)
    return snapshots.answers_in(snapshot), snapshots.demonstrations_in(snapshot)


def main(arguments: Sequence[str]) -> int:
    """Run the service until SIGTERM or Ctrl-C; settings come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m trainer serve", description="Watch the ledger and run rounds.")
    parser.parse_args(arguments)
    settings = TrainerSettings.load()
    log.setup("trainer", settings.log_level)
    service = Service(settings, Ledger.connect(settings))
    if settings.trainer_metrics_port:
        try:
            start_http_server(settings.trainer_metrics_port, registry=metrics.REGISTRY)
        except OSError as error:
            print(f"error: port {settings.trainer_metrics_port} is taken: {error}", file=sys.stderr)
            return 1

    def stop(number: int, frame: FrameType | None) -> None:
        service.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    service.run()
    return 0
