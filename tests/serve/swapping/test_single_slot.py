"""One slot on a real engine: swaps in place under streams, refusals, an engine that hangs, an engine that is killed."""

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from feedback import promotion
from tests.serve.conftest import Server, register, serving, spoil
from tests.serve.swapping.test_hotswap import exact, wrong_probe
from tests.serve.test_app import PROMPTS, TOKENS, load

pytestmark = [pytest.mark.vllm, pytest.mark.redis, pytest.mark.slow]
STALL_S = 8


class OneSlot(Server):
    """A serving process with one slot that gives up on a hanging engine after a few seconds."""

    @property
    def environment(self) -> dict[str, str]:
        settings = {"SLOTS": "1", "STALL_S": str(STALL_S), "SWAP_RETRY_S": "1", "READY_CACHE_S": "0.2"}
        return {**super().environment, **{f"WHETSTONE_{name}": value for name, value in settings.items()}}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("vllm")
    with serving(OneSlot(tmp_path_factory.mktemp("one")), slots=1) as found:
        yield found


def restarts(server: Server) -> dict[str, float]:
    """Return reason -> how many engines were started anew for it."""
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    found = re.findall(r'whetstone_engine_restarts_total\{reason="(\w+)",slot="a"\} (\S+)', text)
    return {reason: float(count) for reason, count in found}


def readiness(server: Server) -> int:
    """Return the status of /readyz."""
    return httpx.get(f"{server.url}/readyz", timeout=30).status_code


def core(server: Server) -> psutil.Process:
    """Return the process of the only engine."""
    assert server.process is not None
    [found] = [child for child in psutil.Process(server.process.pid).children() if "EngineCore" in child.name()]
    return found


def test_every_answer_is_whole_and_exact_while_the_only_slot_is_swapped(one: Server) -> None:
    versions = list(one.paths)
    for reference in one.references.values():
        for prompt in PROMPTS:
            reference.chat(prompt, TOKENS)
    done, statuses = threading.Event(), []

    def watch_readiness() -> None:
        while not done.is_set():
            statuses.append(httpx.get(f"{one.url}/readyz", timeout=30).status_code)
            time.sleep(0.1)

    watcher = threading.Thread(target=watch_readiness)
    watcher.start()
    moves = [versions[1], versions[2], "previous", versions[0], versions[1]]
    outcomes, _ = asyncio.run(load(one, moves))
    done.set()
    watcher.join()
    print(dict(outcomes), len(statuses))
    assert {name.split()[0] for name in outcomes} == {"exact"}, outcomes
    assert len(outcomes) == 3
    assert set(statuses) == {200}
    assert restarts(one) == {}  # however busy the engine was


def test_weights_that_fail_their_probe_are_replaced_by_the_old_ones(one: Server, tmp_path: Path) -> None:
    live = one.live()
    version = register(one.ledger, spoil(one.paths[live], tmp_path / "bad", wrong_probe))
    promotion.promote(one.ledger, version, "test")
    one.wait(lambda: any(event.state == "failed" for event in one.swaps_of(version)), "the refusal", 30)
    assert "probe 0" in one.swaps_of(version)[-1].error
    assert exact(one, live)
    promotion.roll_back(one.ledger, "test")
    assert exact(one, live)


def test_an_engine_that_hangs_is_noticed_and_started_anew(one: Server) -> None:
    live, before = one.live(), restarts(one).get("stalled", 0)
    hanging = core(one)
    with ThreadPoolExecutor(4) as pool:
        os.kill(hanging.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        answers = [pool.submit(one.ask) for _ in range(4)]
        one.wait(lambda: readiness(one) == 503, "unreadiness", 60)
        print(f"unready {time.monotonic() - stopped:.1f} s after the engine hung")
        for answer in answers:
            assert answer.result().status_code == 503
            assert answer.result().json()["error"]["code"] == "engine_unavailable"
    assert time.monotonic() - stopped < 2 * STALL_S
    assert httpx.get(f"{one.url}/livez").status_code == 200
    one.wait(one.ready, "the new engine")
    assert exact(one, live)
    assert not hanging.is_running()
    assert restarts(one)["stalled"] == before + 1


def test_a_killed_engine_is_noticed_at_once_and_its_callers_get_clean_refusals(one: Server) -> None:
    live, before = one.live(), restarts(one).get("died", 0)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(one.ask, max_tokens=64) for _ in range(8)]
        time.sleep(0.1)
        os.kill(core(one).pid, signal.SIGKILL)
        died = time.monotonic()
        one.wait(lambda: readiness(one) == 503, "unreadiness", 5)
        print(f"unready {time.monotonic() - died:.2f} s after the engine was killed")
        asked += [pool.submit(one.ask) for _ in range(8)]
        answers = [each.result() for each in asked]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert {answer.json()["error"]["code"] for answer in answers if answer.status_code == 503} == {"engine_unavailable"}
    one.wait(one.ready, "the new engine")
    assert exact(one, live)
    assert restarts(one)["died"] == before + 1
    assert 'vllm:generation_tokens_total{slot="a",version="' in httpx.get(f"{one.url}/metrics").text


@pytest.mark.parametrize("after_s", [0.0, 0.06])
def test_a_process_killed_in_the_middle_of_a_swap_comes_back_with_one_version(one: Server, after_s: float) -> None:
    before = one.live()
    wanted = next(version for version in one.paths if version != before)
    promotion.promote(one.ledger, wanted, "test")
    time.sleep(after_s)  # a moment in the swap, not a wait for anything
    assert one.process is not None
    one.process.kill()
    one.process.wait()
    one.start()
    one.wait(one.ready, "readiness after the restart")
    assert exact(one, wanted)
    assert {one.live() for _ in range(5)} == {wanted}
