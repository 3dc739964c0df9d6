"""Labelers who never give up: each leases, ranks, and sends its answer under one id until it is acknowledged.

Keeps the labelers' own record of what was acknowledged, which is held against the stores afterwards. Knows HTTP and
nothing of what is killed meanwhile.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import Any

RETRY_S = 0.02
TIMEOUT_S = 10.0
PATIENCE_S = 60.0
"""Longest that one request is tried; beyond this the run has failed."""
AGAIN = (429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One acknowledged submission."""

    id: str
    item: str
    labeler: str
    ranking: list[list[int]]
    took_s: float
    tries: int
    repeated: bool
    """The server had taken it before: an earlier acknowledgement was lost on its way."""


@dataclass
class Book:
    """What all labelers of a run saw.

    Attributes:
        most: submissions after which everybody stops.
        per_s: pace of all labelers together; 0 for as fast as they can.
        refused: route and status -> how often it refused for good.
    """

    most: int
    per_s: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)
    _sent: list[Sent] = field(default_factory=list)
    _begun: int = 0
    _since: float = field(default_factory=time.monotonic)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self) -> bool:
        """Wait for the next turn; return False if there is none."""
        with self._changed:
            if self._begun >= self.most:
                return False
            turn = self._since + self._begun / self.per_s if self.per_s else 0.0
            self._begun += 1
        time.sleep(max(0.0, turn - time.monotonic()))
        return True

    def note(self, sent: Sent | str) -> None:
        """Note an acknowledgement, or what was refused, whose turn somebody takes again."""
        with self._changed:
            if isinstance(sent, str):
                self.refused[sent] = self.refused.get(sent, 0) + 1
                self._begun -= 1
            else:
                self._sent.append(sent)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Wait until so many were acknowledged.

        Raises:
            TimeoutError: nothing was acknowledged for `PATIENCE_S`.
        """
        with self._changed:
            while (before := len(self._sent)) < count:
                if not self._changed.wait_for(partial(self._more_than, before), PATIENCE_S):
                    raise TimeoutError(f"{before} acknowledged, no more for {PATIENCE_S:g} s; refused: {self.refused}")

    def _more_than(self, count: int) -> bool:
        return len(self._sent) > count

    def acknowledged(self) -> list[Sent]:
        """Return what was acknowledged so far, in this order."""
        with self._changed:
            return list(self._sent)


class Labeler(threading.Thread):
    """One labeler on one connection."""

    def __init__(self, port: int, name: str, secret: str, book: Book) -> None:
        super().__init__(name=name, daemon=True)
        self._port = port
        self._headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        self._book = book
        self._rng = random.Random(name)
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Lease and answer until enough was answered."""
        while self._book.begin():
            self._book.note(self._one())
        self._hang_up()

    def _one(self) -> Sent | str:
        status, _, item, _ = self._post("/v1/labeling/next", {"queue": "training"})
        if status != 200:
            time.sleep(RETRY_S)
            return f"next {status}"
        order = [each["index"] for each in item["completions"]]
        self._rng.shuffle(order)
        ranking = [[index] for index in order]
        submission = str(uuid.uuid4())
        body = {"token": item["token"], "submission_id": submission, "ranking": ranking, "guideline_version": "1"}
        began = time.monotonic()
        status, repeated, _, tries = self._post(f"/v1/labeling/items/{item['item_id']}/submit", body)
        if status != 200:
            return f"submit {status}"
        return Sent(
            id=submission,
            item=item["item_id"],
            labeler=self.name,
            ranking=ranking,
            took_s=time.monotonic() - began,
            tries=tries,
            repeated=repeated,
        )

    def _post(self, path: str, body: dict[str, Any]) -> tuple[int, bool, dict[str, Any], int]:
        """Send until the answer is final; return status, whether it was a repetition, the answer, and the tries."""
        until, tries = time.monotonic() + PATIENCE_S, 0
        payload = json.dumps(body).encode()
        while time.monotonic() < until:
            tries += 1
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
                self._connection.request("POST", path, payload, self._headers)
                answer = self._connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                self._hang_up()
                time.sleep(RETRY_S)
                continue
            if answer.status not in AGAIN:
                repeated = answer.headers.get("Idempotent-Replayed") == "true"
                return answer.status, repeated, json.loads(text) if answer.status == 200 else {}, tries
            time.sleep(RETRY_S)
        return 0, False, {}, tries

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
