"""A customer who sends the catalogue's requests and looks at the refusals."""

import re
from typing import Any

import httpx

from feedback import access, interactions
from tests.serve.catalogue.hostile import CHAT, Case
from tests.serve.conftest import Server

INSIDES = re.compile(r"Traceback|0x[0-9a-f]{6,}|<class|object at|site-packages|/tmp/")


class Caller:
    """A customer whose key is used for nothing else."""

    def __init__(self, server: Server, owner: str) -> None:
        self.server = server
        self.owner = owner
        self.key = access.create(server.ledger, "client", owner)[0]
        self.http = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def send(self, body: bytes, path: str = CHAT, **headers: str) -> httpx.Response:
        return self.http.post(path, content=body, headers={"Content-Type": "application/json", **headers})

    def ask(self, path: str = CHAT, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        return self.send(Case(0, path, {"temperature": 0, **fields}).body(), path, **(headers or {}))

    def refused(self, body: bytes, path: str = CHAT, status: int = 400, **headers: str) -> dict[str, Any]:
        """Send what must be refused, look at the envelope, and return the error."""
        answer = self.send(body, path, **headers)
        assert answer.status_code == status, answer.text[:500]
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
        error: dict[str, Any] = answer.json()["error"]
        assert set(error) >= {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert 0 < len(error["message"]) <= 1000
        assert not INSIDES.search(answer.text)
        return error


def kept_of(server: Server, owner: str) -> list[str]:
    """Return the prompts of a customer that are in the ledger."""
    return [each.messages[0].content for _, each in interactions.read(server.ledger) if each.customer == owner]


def gauge(server: Server, name: str, label: str = "") -> float:
    """Return the sum of a metric's samples: of the lines that begin with ``name`` and hold ``label``."""
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    lines = [line for line in text.splitlines() if line.startswith(name) and label in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
