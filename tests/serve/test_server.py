"""How a serving process starts and ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from feedback import promotion
from tests.conftest import ROOT, RedisServer, free_port
from tests.serve.conftest import Server, make_policy, register


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run a serving process that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "serve"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("MAX_TOKENS", "many"), ("POLL_S", "-1"), ("LEDGER_URL", "http://x"), ("DTYPE", "x")],
)
def test_a_wrong_setting_is_one_line_and_status_2(name: str, value: str, tmp_path: Path) -> None:
    ended = run(
        **{"WHETSTONE_PORT": str(free_port()), "WHETSTONE_SPOOL_ROOT": str(tmp_path), f"WHETSTONE_{name}": value}
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("serve: ")
    assert name.lower() in ended.stderr.lower()
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_dead_ledger_is_one_line_and_status_1(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    ended = run(WHETSTONE_LEDGER_URL=url, WHETSTONE_PORT=str(free_port()), WHETSTONE_SPOOL_ROOT=str(tmp_path))
    assert ended.returncode == 1
    assert "no Redis answers" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_taken_port_is_one_line_and_status_1(redis_server: RedisServer, tmp_path: Path) -> None:
    ended = run(
        WHETSTONE_LEDGER_URL=redis_server.url,
        WHETSTONE_PORT=str(redis_server.port),
        WHETSTONE_SPOOL_ROOT=str(tmp_path),
    )
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{redis_server.port}" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.fixture
def one_slot(tmp_path: Path) -> Iterator[Server]:
    """A serving process of its own, just ready, its second engine still starting."""
    pytest.importorskip("vllm")
    found = Server(tmp_path)
    promotion.promote(found.ledger, register(found.ledger, make_policy(tmp_path / "policy", 1)), "test")
    found.start()
    try:
        found.wait(found.ready, "readiness")
        yield found
    finally:
        if found.process is not None and found.process.poll() is None:
            found.process.kill()
            found.process.wait()
        found.redis.kill()


def family(server: Server) -> list[psutil.Process]:
    assert server.process is not None
    return list(psutil.Process(server.process.pid).children(recursive=True))


def left(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Return those that are still running after a while."""
    until = time.monotonic() + within_s
    running = processes
    while running and time.monotonic() < until:
        running = [each for each in running if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        time.sleep(0.1)
    return running


@pytest.mark.vllm
@pytest.mark.redis
@pytest.mark.slow
def test_sigterm_finishes_what_is_being_answered_and_leaves_no_process(one_slot: Server) -> None:
    server = one_slot
    lines: list[str] = []
    begun = threading.Event()

    def stream() -> None:
        body = {
            "model": "live",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0,
            "max_tokens": 64,
            "stream": True,
        }
        url = f"{server.url}/v1/chat/completions"
        with httpx.stream("POST", url, json=body, headers=server.auth(), timeout=60) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                begun.set()

    streaming = threading.Thread(target=stream)
    streaming.start()
    assert begun.wait(60)
    processes = family(server)
    assert any("EngineCore" in each.name() for each in processes)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    refused, unready = server.ask(), httpx.get(f"{server.url}/readyz", timeout=5)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert refused.headers["retry-after"]
    assert unready.status_code == 503
    assert server.process.wait(35) == 0
    streaming.join()
    assert "data: [DONE]" in lines
    assert left(processes, 5) == []


@pytest.mark.vllm
@pytest.mark.redis
@pytest.mark.slow
def test_kill_leaves_no_engine_behind(one_slot: Server) -> None:
    processes = family(one_slot)
    assert one_slot.process is not None
    one_slot.process.send_signal(signal.SIGKILL)
    one_slot.process.wait()
    assert left(processes, 60) == []
