"""A real HTTP server that speaks the completions contract, a real broker, and real worker and beat processes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from feedback import interactions
from feedback.client import Ledger
from feedback.ids import new_id
from feedback.records import Interaction, Message, utc_now
from workers.settings import WorkerSettings

ROOT = Path(__file__).parent.parent.parent
KEY = "ws-client-sampler"


class CompletionsApi(ThreadingHTTPServer):
    """Answers ``/v1/chat/completions``: text ``i`` follows from the prompt and ``seed + i``."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.in_flight = 0
        self.most_in_flight = 0
        self.reset()

    def reset(self) -> None:
        self.requests.clear()
        self.delay_s = 0.0
        self.status = 200
        self.retry_after = "0.2"
        self.different_texts = 0  # 0: each its own
        self.version = "policy-0003"
        self.served: dict[str, str] = {}  # model -> version; empty: every model is ``version``
        self.texts: list[str] = []  # said in turn, over and over; empty: a text of its own for each seed
        self.said = 0
        self.poison = ""  # a prompt that is never answered
        self.poisoned = threading.Event()  # somebody asked for it
        self.most_in_flight = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CompletionsApi

    def do_POST(self) -> None:
        api = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with api.lock:
            api.requests.append({"headers": dict(self.headers), "path": self.path, **body})
            api.in_flight += 1
            api.most_in_flight = max(api.most_in_flight, api.in_flight)
        try:
            status, answer = self.reply(body)
        finally:
            with api.lock:
                api.in_flight -= 1
        payload = json.dumps(answer).encode()
        with suppress(ConnectionError):  # whoever asked was killed
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.send_header("X-Policy-Version", api.served.get(body["model"], api.version))
            if status == 503:
                self.send_header("Retry-After", api.retry_after)
            self.end_headers()
            self.wfile.write(payload)

    def reply(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        api = self.server
        time.sleep(api.delay_s)
        if api.poison and api.poison == body["messages"][-1]["content"]:
            api.poisoned.set()
            time.sleep(5.0)
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return 401, {"error": {"message": "no such key"}}
        if api.status != 200:
            return api.status, {"error": {"message": "not now"}}
        if api.served and body["model"] not in api.served:
            return 404, {"error": {"message": "no slot holds it"}}
        return 200, self.answer(body)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        choices = []
        for index in range(body["n"]):
            number = body["seed"] + index
            if self.server.different_texts:
                number %= self.server.different_texts
            text = hashlib.sha256(f"{body['messages']}{number}".encode()).hexdigest()[:12]
            if self.server.texts:
                with self.server.lock:
                    text = self.server.texts[self.server.said % len(self.server.texts)]
                    self.server.said += 1
            choices.append(
                {
                    "index": index,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "length" if index == 0 else "stop",
                    "token_ids": [1, 2, 3],
                }
            )
        return {
            "id": new_id("int"),
            "model": self.server.served.get(body["model"], self.server.version),
            "choices": choices,
        }

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def completions_api() -> Iterator[CompletionsApi]:
    server = CompletionsApi()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def api(completions_api: CompletionsApi) -> CompletionsApi:
    """The API, answering at once, when it has answered all that an earlier test asked."""
    completions_api.reset()
    for _ in range(200):
        if not completions_api.in_flight:
            return completions_api
        time.sleep(0.05)
    raise RuntimeError(f"{completions_api.in_flight} requests of an earlier test are still being answered")


@pytest.fixture(scope="session")
def broker(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A second Redis, for messages."""
    server = type(redis_server)(tmp_path_factory.mktemp("broker"), "--appendfsync", "everysec")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def settings(ledger: Ledger, api: CompletionsApi, tmp_path: Path) -> WorkerSettings:
    """Settings for tasks that run inside the test."""
    return WorkerSettings(
        ledger_url=ledger.url, artifact_root=tmp_path, serve_url=api.url, sampler_key=KEY, test_percent=0, claim_s=1
    )


@pytest.fixture
def ask(ledger: Ledger) -> Callable[..., Interaction]:
    """A customer who asks one thing; the interaction is logged."""

    def log(text: str, customer: str = "acme", **fields: Any) -> Interaction:
        interaction = Interaction(
            id=new_id("int"),
            created_at=utc_now(),
            customer=customer,
            key_id="key_1",
            messages=[Message(role="user", content=text)],
            completion="an answer",
            finish_reason="stop",
            policy_version="policy-0001",
            **fields,
        )
        interactions.append(ledger, interaction)
        return interaction

    return log


class Workers:
    """Worker and beat processes that a test starts, kills and starts again."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.directory = directory
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("WHETSTONE_")}
        self.environment |= {f"WHETSTONE_{name.upper()}": str(value) for name, value in settings.items()}
        self.environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "workers", *arguments],
                env=self.environment,
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL the whole process group: parent and pool."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def kill_all(self) -> None:
        for process in list(self.running):
            self.kill(process)


@pytest.fixture(scope="session")
def make_workers() -> Iterator[Callable[..., Workers]]:
    made: list[Workers] = []

    def make(directory: Path, **settings: object) -> Workers:
        made.append(Workers(directory, **settings))
        return made[-1]

    yield make
    for each in made:
        each.kill_all()


def wait_until(condition: Callable[[], object], within_s: float = 20.0) -> None:
    """Return as soon as the condition holds."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"did not happen within {within_s:g} s")
        time.sleep(0.05)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    return wait_until
