"""The real front without an engine: ``python -m serve`` and its Redis, for what labelers do.

Knows how to start them and how many labelers have keys; does not know what is measured.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from benchmarks.callers import Site
from benchmarks.common import READY_S, Server
from deploy.supervisor import ProcessFailed
from feedback import access
from feedback.client import Ledger


class Front(Server):
    """A serving process without an engine, its Redis with the ledger's own configuration, keys for labelers."""

    def __init__(self, directory: Path, labelers: int, extra: Mapping[str, str] | None = None) -> None:
        """Prepare one.

        Args:
            directory: emptied first.
            labelers: how many labelers get a key: ``labeler-0`` and so on.
            extra: further settings, ``WHETSTONE_...``.
        """
        super().__init__(directory, extra={"WHETSTONE_ENGINE": "none", **(extra or {})})
        self.labelers = labelers

    def __enter__(self) -> Self:
        """Start Redis, make the keys, start serving and wait until it listens."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self._supervisor.__enter__()
        try:
            self.start_redis()
            self.ledger = Ledger(self.environment["WHETSTONE_LEDGER_URL"])
            for number in range(self.labelers):
                name = f"labeler-{number}"
                self.keys[name], _ = access.create(self.ledger, "labeler", name, group="training")
            self.start()
            self.wait_listening()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    @property
    def site(self) -> Site:
        """The server as its labelers know it."""
        return Site(port=self.port, keys=self.keys)

    def wait_listening(self, deadline_s: float = READY_S) -> None:
        """Wait until the port is open: without an engine nothing is ever ready to answer chats.

        Raises:
            ProcessFailed: the process ended, or did not listen in time.
        """
        until = time.monotonic() + deadline_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError as error:
                if self.process is None or self.process.poll() is not None or time.monotonic() > until:
                    tail = (self.directory / "logs" / "serve.log").read_text(errors="replace")[-2000:]
                    raise ProcessFailed(f"serve did not listen:\n{tail}") from error
            time.sleep(0.05)
