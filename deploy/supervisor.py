"""Starts the processes of Whetstone on one machine, watches them, and ends them together.

Knows process groups, log files and readiness; what is started is listed in `deploy.stack`. Only processes started here
are ever ended.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

from feedback.errors import ConfigError, WhetstoneError

STOP_S = 20.0
"""Seconds that all processes together get to end after SIGTERM, before they are killed."""


class ProcessFailed(WhetstoneError):
    """A process ended by itself or did not become ready; the message ends with its last words."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process to run.

    Attributes:
        name: also the name of its log file.
        command: program and arguments.
        environment: added to ours.
        ready: tells whether the process does its work yet.
        ready_s: seconds after which a process that is not ready counts as failed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = lambda: True
    ready_s: float = 60.0


class Supervisor:
    """Runs services; use as a context manager. Ctrl-C and SIGTERM end everything in the reverse order of starting."""

    def __init__(self, logs: Path) -> None:
        """Write the output of each service to ``logs``/NAME.log."""
        self.logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._sigterm = signal.getsignal(signal.SIGTERM)

    def __enter__(self) -> Supervisor:
        """Turn SIGTERM into an orderly end."""
        self.logs.mkdir(parents=True, exist_ok=True)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every service, and let no second Ctrl-C leave one behind."""
        on_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if on_main else None
        try:
            self.stop()
        finally:
            if on_main:
                signal.signal(signal.SIGINT, before)
                signal.signal(signal.SIGTERM, self._sigterm)

    def start(self, service: Service) -> None:
        """Start a service without waiting for it."""
        with (self.logs / f"{service.name}.log").open("ab") as log:
            self._running[service.name] = subprocess.Popen(
                list(service.command),
                env={**os.environ, **service.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, service: Service) -> None:
        """Wait until a started service is ready.

        Raises:
            ProcessFailed: it ended, or was not ready in time.
        """
        deadline_s = time.monotonic() + service.ready_s
        while not service.ready():
            self.check()
            if time.monotonic() > deadline_s:
                raise ProcessFailed(
                    f"{service.name} was not ready in {service.ready_s:.0f} s{self.last_words(service.name)}"
                )
            time.sleep(0.1)

    def check(self) -> None:
        """Raise `ProcessFailed` if a service ended by itself."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ProcessFailed(f"{name} ended with exit code {process.returncode}{self.last_words(name)}")

    def pid(self, name: str) -> int:
        """Return the process id of a running service."""
        return self._running[name].pid

    def stop(self) -> None:
        """End every service in the reverse order of starting."""
        self.end(*reversed(self._running))

    def end(self, *names: str) -> None:
        """End these services: SIGTERM one after the other, SIGKILL for what is left after `STOP_S`."""
        ending = [self._running[name] for name in names if name in self._running]
        deadline_s = time.monotonic() + STOP_S
        for process in ending:
            _signal(process, signal.SIGTERM)
            _wait(process, min(deadline_s, time.monotonic() + STOP_S / 2))
        for process in ending:
            _wait(process, deadline_s)
            _signal(process, signal.SIGKILL)
            process.wait()
        for name in names:
            self._running.pop(name, None)

    def last_words(self, name: str) -> str:
        """Return the end of a service's log, for an error message."""
        path = self.logs / f"{name}.log"
        lines = (
            [line for line in path.read_text(errors="replace").splitlines() if line.strip()] if path.exists() else []
        )
        return f": {lines[-1][:300]} (log: {path})" if lines else f" (log: {path})"


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free(port: int, option: str) -> int:
    """Return ``port`` if nobody listens on it.

    Raises:
        ConfigError: it is taken; names the option that chooses another.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(f"port {port} is taken; choose another with {option}") from error
    return port


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the process's whole group, so that no grandchild outlives it."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _wait(process: subprocess.Popen[bytes], deadline_s: float) -> None:
    try:
        process.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        return
