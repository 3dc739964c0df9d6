"""What all tests share: a real Redis on a private port, and where real data may lie."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from feedback.client import Ledger

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A Redis of our own, with the ledger's configuration, that a test may kill and start again."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        command = ["redis-server", str(ROOT / "deploy/redis/ledger.conf"), "--port", str(self.port)]
        command += ["--dir", str(self.directory), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis(port=self.port)
        for _ in range(200):
            try:
                if client.ping():
                    return
            except redis.RedisError:
                time.sleep(0.05)
        raise RuntimeError(f"redis-server did not start on port {self.port}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the whole run; in CI its absence is a failure, at home a skip."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def ledger(redis_server: RedisServer) -> Ledger:
    """An empty ledger on a real Redis."""
    found = Ledger(redis_server.url)
    found.redis.flushall()
    return found


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Directory of real data sets; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("WHETSTONE_DATA", ROOT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip("real data is not here; set WHETSTONE_DATA")
    return root
