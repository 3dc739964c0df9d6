"""One serving process: from settings to an exit status, until SIGTERM or Ctrl-C.

Exit status: 0 stopped on request, 1 the ledger or the port cannot be had, 2 a setting is wrong.
"""

import signal
import socket
import sys

import uvicorn

from feedback.client import Ledger
from feedback.errors import ConfigError, LedgerUnavailable
from feedback.log import setup
from serve.app import make_app
from serve.settings import ServeSettings
from serve.spool import Spool


def main() -> int:
    """Serve until told to stop and return the exit status."""
    try:
        settings = ServeSettings.load()
        listener = _listen(settings.host, settings.port)
        spool = Spool(settings.spool_root / settings.replica, settings.spool_max_bytes, settings.spool_segment_bytes)
        ledger = Ledger.connect(settings)
    except ConfigError as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2
    except (LedgerUnavailable, OSError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    setup("serve", settings.log_level)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(settings, ledger, spool),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.shutdown_deadline_s),
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises it again when done; being asked to stop is no failure
    server.run(sockets=[listener])
    return 0


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
