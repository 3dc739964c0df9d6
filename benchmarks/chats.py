"""Chats as a customer sees them: what was asked, what came back whole, how long it took.

A closed loop in threads over keep-alive connections. Knows HTTP and nothing of spools or ledgers; a chat counts as
answered only if status and body arrived complete.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Chat:
    """One answered chat."""

    id: str
    text: str
    began: float
    """Moment on the monotonic clock."""
    took_s: float


@dataclass
class Chats:
    """Callers that ask one chat after the other until told to stop.

    Attributes:
        port: of the API on this machine.
        key: secret of a client.
        callers: how many ask at a time.
        tokens: length of each answer.
        answered: what came back whole.
        failures: reason -> how often.
    """

    port: int
    key: str
    callers: int = 16
    tokens: int = 16
    answered: list[Chat] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._asked = 0

    def run(self, until: Callable[[], bool]) -> None:
        """Ask until a condition holds."""
        self.start()
        try:
            while not until():
                time.sleep(0.01)
        finally:
            self.stop()

    def run_for(self, seconds: float) -> list[Chat]:
        """Ask for a while; return what was answered in it."""
        began = time.monotonic()
        self.run(lambda: time.monotonic() - began >= seconds)
        return [chat for chat in self.answered if chat.began >= began]

    def start(self) -> None:
        """Begin to ask."""
        self._stop.clear()
        self._threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(self.callers)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more; what was asked is waited for."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
            try:
                self._ask(connection)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                connection.close()
                connection = None
                self._fail(type(error).__name__)
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._asked += 1
            number = self._asked
        body = {
            "model": "live",
            "messages": [{"role": "user", "content": f"Name {number} animals."}],
            "temperature": 0,
            "min_tokens": self.tokens,
            "max_tokens": self.tokens,
        }
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        began = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
        took_s = time.monotonic() - began
        if answer.status != 200:
            self._fail(str(answer.status))
            return
        found = json.loads(raw)
        chat = Chat(found["id"], found["choices"][0]["message"]["content"], began, took_s)
        with self._lock:
            self.answered.append(chat)

    def _fail(self, reason: str) -> None:
        with self._lock:
            self.failures[reason] = self.failures.get(reason, 0) + 1
        self._stop.wait(0.2)  # a server that is down or refuses is not asked as fast as it can refuse
