"""One serving process: from settings to an exit status, until SIGTERM or Ctrl-C.

Exit status: 0 stopped on request, 1 the ledger or the port cannot be had, 2 a setting is wrong. Without the ledger a
process starts that was up within the last day (``without_ledger_s``): with the policy and the keys that it knew.
"""

import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType

import uvicorn

from feedback.client import Ledger
from feedback.errors import ConfigError, LedgerUnavailable
from feedback.log import setup
from serve.app import make_app
from serve.door.admission import Admission
from serve.door.protocol import options
from serve.recording.memory import Memory
from serve.recording.spool import Spool
from serve.settings import ServeSettings

SWITCH_S = 0.0005
"""Longest that a thread (the relay, a check of weights) keeps the event loop waiting for the interpreter; Python's own
5 ms would be felt between any two bytes of a stream."""
CLOSE_S = 5
"""Seconds that connections get to close after the drain."""


class Server(uvicorn.Server):
    """Drains when told to stop: new completions get 503 while those in flight finish, then the listener closes.

    Told a second time, it stops at once.
    """

    def __init__(self, config: uvicorn.Config, admission: Admission, deadline_s: float) -> None:
        super().__init__(config)
        self._admission = admission
        self._deadline_s = deadline_s
        self._until = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; called in the main thread when a signal arrives."""
        if self._admission.draining:
            super().handle_exit(sig, frame)
        self._until = time.monotonic() + self._deadline_s
        self._admission.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Tell ten times a second whether to stop now."""
        if self._admission.draining and (self._admission.in_flight == 0 or time.monotonic() > self._until):
            self.should_exit = True
        return await super().on_tick(counter)


def main() -> int:
    """Serve until told to stop and return the exit status."""
    try:
        settings = ServeSettings.load()
        listener = _listen(settings.host, settings.port)
        spool = Spool(settings.spool_root / settings.replica, settings.spool_max_bytes, settings.spool_segment_bytes)
        ledger = _reach(settings, spool.directory)
    except ConfigError as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2
    except (LedgerUnavailable, OSError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    setup("serve", settings.log_level)
    sys.setswitchinterval(SWITCH_S)
    app = make_app(settings, ledger, spool)
    server = Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            **options(settings),
            timeout_graceful_shutdown=CLOSE_S,
        ),
        app.state.admission,
        settings.shutdown_deadline_s,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises a second one again when done; that is no failure
    server.run(sockets=[listener])
    return 0


def _reach(settings: ServeSettings, directory: Path) -> Ledger:
    """Return the ledger; one that does not answer will do if an earlier process wrote down what it said last.

    Raises:
        LedgerUnavailable: it does not answer, and nothing is known of what it said.
    """
    ledger = Ledger.of(settings)
    try:
        ledger.ping()
    except LedgerUnavailable as error:
        if Memory(directory, settings.without_ledger_s).aliases() is None:
            raise
        print(f"serve: starting with what the ledger said last: {error}", file=sys.stderr)
    return ledger


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, so that a taken port is known before anything starts.

    Raises:
        OSError: the port is taken or the address is not ours.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; is another process there?"
        ) from error
    return listener
