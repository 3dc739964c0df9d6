"""The trainer service: watches the ledger and walks one round at a time.

Decides when a round begins, holds the right to run it (one trainer at a time, fenced), and goes on with an unfinished
round after a restart. What a round does is in `trainer.rounds.walk`; nothing here can move ``live``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import uuid
from collections.abc import Sequence
from types import FrameType

from prometheus_client import start_http_server

from feedback import demonstrations, labels, log, metrics, policies, rounds, snapshots
from feedback.client import Ledger
from feedback.errors import LedgerUnavailable, WhetstoneError
from feedback.ids import new_id
from feedback.records import Round, utc_now
from trainer.rounds.walk import Stopped, Walk
from trainer.settings.service import TrainerSettings

logger = log.get(__name__)


class Service:
    """Runs rounds until it is told to stop."""

    def __init__(self, settings: TrainerSettings, ledger: Ledger) -> None:
        """Bind settings and ledger; the token tells this trainer from any other."""
        self.settings = settings
        self.ledger = ledger
        self.token = uuid.uuid4().hex
        self.stopping = threading.Event()

    def run(self) -> None:
        """Look, walk a round if one is due, look again; an unreachable ledger is waited for."""
        while not self.stopping.is_set():
            try:
                self._once()
            except LedgerUnavailable as error:
                logger.warning("ledger unavailable", error=str(error))
            self.stopping.wait(self.settings.trainer_poll_s)
        rounds.let_go(self.ledger, self.token)

    def hold(self) -> bool:
        """Renew the right to run rounds; False if it was lost or the service is stopping."""
        return not self.stopping.is_set() and rounds.hold(self.ledger, self.token)

    def _once(self) -> None:
        if not self.hold():
            return
        record = next((each for each in rounds.list_rounds(self.ledger) if each.state == "running"), None)
        if record is None:
            kind = rounds.requested(self.ledger) or self._due()
            if not kind:
                return
            record = Round(
                id=new_id("rnd"), created_at=utc_now(), state="running", kind="sft" if kind == "sft" else "ppo"
            )
            rounds.begin(self.ledger, record)
        self._walk(record)

    def _due(self) -> str:
        """Return the kind of round that new labels call for, or an empty string."""
        wanted = self.settings.min_new_labels
        if not wanted:
            return ""
        kinds = {policy.kind for policy in policies.list_policies(self.ledger)}
        if "sft" not in kinds:
            return "sft" if demonstrations.count(self.ledger) >= self.settings.min_demonstrations else ""
        used = max((snapshots.answers_in(each) for each in snapshots.list_snapshots(self.ledger)), default=0)
        return "ppo" if labels.count(self.ledger) - used >= wanted else ""

    def _walk(self, record: Round) -> None:
        logger.info("round began", round=record.id, kind=record.kind)
        try:
            done = Walk(self.settings, self.ledger, self.hold).run(record)
        except Stopped:
            logger.info("round interrupted", round=record.id)
            return
        except LedgerUnavailable:
            raise
        except WhetstoneError as error:
            logger.error("round failed", round=record.id, error=str(error))
            failed = rounds.get(self.ledger, record.id)
            rounds.update(self.ledger, failed, state="failed", error=str(error), finished_at=utc_now())
            metrics.rounds_total.labels("failed").inc()
            return
        metrics.rounds_total.labels("done").inc()
        logger.info("round done", round=done.id, version=done.version, seconds=done.seconds)


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
