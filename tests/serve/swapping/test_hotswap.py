"""What a promotion does to a real serving process: loads, refusals, rollbacks, an engine that dies."""

import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from feedback import policies, promotion
from feedback.records import Policy, utc_now
from tests.serve.conftest import Server, make_policy, probe_rows, register, spoil
from tests.serve.swapping.test_weights import edit_json, edit_tensor, set_nan

pytestmark = [pytest.mark.vllm, pytest.mark.redis, pytest.mark.slow]
PROBES = [[7, 8, 9, 10], [20, 30, 40]]


def good(server: Server) -> Path:
    return next(iter(server.paths.values()))


def exact(server: Server, version: str) -> bool:
    """Tell whether the live answer is that version's, by transformers' word."""
    answer = server.ask(max_tokens=32, return_token_ids=True).json()
    ids = answer["choices"][0]["token_ids"]
    return bool(answer["model"] == version and ids == server.references[version].chat("hello", 32))


def refused(server: Server, version: str) -> str:
    """Promote a version that must not go live; return why it did not, with live back where it was."""
    live = server.live()
    promotion.promote(server.ledger, version, "test")
    server.wait(lambda: any(e.state == "failed" for e in server.swaps_of(version)), "the refusal", 30)
    assert server.live() == live
    assert exact(server, live)
    time.sleep(1)
    events = server.swaps_of(version)
    assert [event.state for event in events] == ["pending", "failed"]
    promotion.roll_back(server.ledger, "test")
    return events[-1].error


def test_a_promotion_loads_and_a_rollback_only_moves_the_pointer(server: Server) -> None:
    first, second = list(server.paths)[:2]
    for version in (first, second):
        if server.live() != version:
            server.promote(version)
        assert exact(server, version)
    assert exact(server, second)
    promotion.roll_back(server.ledger, "test")
    server.wait(lambda: server.live() == first, "the rollback", 10)
    assert exact(server, first)
    server.wait(lambda: server.swaps_of(first)[-1].previous == second, "the event", 5)
    assert server.swaps_of(first)[-1].state == "live"
    assert server.swaps_of(first)[-1].load_s < 0.05
    assert server.ask(model="previous").json()["model"] == second


def flip_bytes(path: Path) -> None:
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-100] ^= 0xFF
    (path / "model.safetensors").write_bytes(data)


def wrong_probe(path: Path) -> None:
    (path / "probe.json").write_text('[{"prompt_token_ids": [7, 8], "token_ids": [5, 5], "logprobs": [-0.1, -0.1]}]')


def only_a_pickle(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_tensor(set_nan), "not finite"),
        (only_a_pickle, "pytorch_model.bin is refused"),
        (edit_json("tokenizer.json", truncation={"x": 1}), "differs from the live policy in tokenizer"),
        (lambda path: (path / "chat_template.jinja").write_text("{{ messages }}"), "chat_template"),
        (edit_json("config.json", rope_theta=5.0), "differs from the live policy in config"),
        (edit_tensor(lambda tensors: tensors.pop("model.norm.weight")), "in tensors"),
        (wrong_probe, "probe 0"),
    ],
)
def test_a_policy_that_is_not_right_never_answers(
    server: Server, tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    assert reason in refused(server, register(server.ledger, spoil(good(server), tmp_path / "bad", change)))


def test_weights_changed_on_disk_after_registration_never_answer(server: Server, tmp_path: Path) -> None:
    path = spoil(good(server), tmp_path / "bad", lambda _: None)
    version = register(server.ledger, path)
    flip_bytes(path)
    assert "does not match its manifest" in refused(server, version)


def test_a_policy_whose_directory_is_gone_never_answers(server: Server, tmp_path: Path) -> None:
    version = policies.next_version(server.ledger)
    record = Policy(version=version, created_at=utc_now(), kind="base", path=str(tmp_path / "gone"), sha256="0" * 64)
    policies.register(server.ledger, record)
    assert "has no manifest" in refused(server, version)


def test_a_policy_of_another_architecture_is_refused(server: Server, tmp_path: Path) -> None:
    version = register(server.ledger, make_policy(tmp_path / "untied", 9, tied=False))
    assert "config" in refused(server, version)


def test_a_policy_with_true_probes_goes_live_after_a_refusal(server: Server, tmp_path: Path) -> None:
    live = server.live()
    reference = server.references[live]

    def write(path: Path) -> None:
        (path / "probe.json").write_text(probe_rows(reference, PROBES, 12))

    path = spoil(server.paths[live], tmp_path / "probed", write)
    version = register(server.ledger, path)
    server.references[version] = reference
    server.promote(version)
    assert exact(server, version)
    promotion.roll_back(server.ledger, "test")
    server.wait(lambda: server.live() == live, "the rollback", 10)


def test_the_replica_says_what_it_holds(server: Server) -> None:
    held = server.ledger.redis.get("ws:replica:test")
    assert held is not None
    assert server.live() in str(held)
    assert 0 < int(server.ledger.redis.ttl("ws:replica:test")) <= 15


def test_a_canary_answers_its_share_of_live_and_ends_by_a_word(server: Server) -> None:
    live, second = server.live(), list(server.paths)[1]
    if live == second:
        second = next(iter(server.paths))
    headers = server.auth("operator")
    url = f"{server.url}/v1/operations/canary"
    begun = httpx.post(url, json={"version": second, "share": 100, "reason": "all of them"}, headers=headers)
    assert begun.status_code == 200, begun.text
    server.wait(lambda: server.live() == second, "the canary to answer", 30)
    assert exact(server, second)
    explicit = server.ask(model=live, max_tokens=32, return_token_ids=True).json()
    assert explicit["model"] == live
    assert explicit["choices"][0]["token_ids"] == server.references[live].chat("hello", 32)
    httpx.post(url, json={"version": second, "share": 40}, headers=headers)
    time.sleep(1)
    voices = {
        name: {server.ask(max_tokens=1, headers={"X-Conversation-Id": name}).json()["model"] for _ in range(3)}
        for name in (f"chat-{number}" for number in range(40))
    }
    assert all(len(voice) == 1 for voice in voices.values())
    assert set.union(*voices.values()) == {live, second}
    assert httpx.delete(url, headers=headers).status_code == 200
    server.wait(lambda: server.live() == live, "live to answer all", 10)
    assert exact(server, live)


def test_when_the_live_engine_dies_the_other_slot_takes_over(server: Server) -> None:
    live = server.live()
    assert server.process is not None
    cores = [child for child in psutil.Process(server.process.pid).children() if "EngineCore" in child.name()]
    assert len(cores) == 2
    answering = max(cores, key=lambda core: generated(server, core))
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(server.ask, max_tokens=64) for _ in range(16)]
        time.sleep(0.1)
        os.kill(answering.pid, signal.SIGKILL)
        died = time.monotonic()
        asked += [pool.submit(server.ask, max_tokens=64) for _ in range(16)]
        answers = [each.result() for each in asked]
    assert {answer.status_code for answer in answers} <= {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["error"]["code"] == "engine_unavailable"
            assert answer.headers["retry-after"]
        else:
            assert answer.json()["model"] == live
    server.wait(lambda: server.ask().status_code == 200, "an answer", 60)
    print(f"answers again {time.monotonic() - died:.2f} s after the engine died")
    assert time.monotonic() - died < 10  # the warm slot takes live's weights; a new engine takes longer
    assert exact(server, live)
    server.wait(lambda: all(slot["state"] == "ready" for slot in server.slots()), "both slots again")
    assert exact(server, live)
    text = httpx.get(f"{server.url}/metrics").text
    restarts = re.findall(r'whetstone_engine_restarts_total\{reason="(\w+)",slot="\w"\} (\S+)', text)
    assert restarts == [("died", "1.0")]
    for slot in "ab":
        assert f'vllm:generation_tokens_total{{slot="{slot}"' in text


def generated(server: Server, core: psutil.Process) -> float:
    """Return the processor seconds that a core uses up while the live slot works: the live slot's core uses more."""
    before = sum(child.cpu_times().user for child in [core, *core.children()])
    for _ in range(5):
        server.ask(max_tokens=64)
    return float(sum(child.cpu_times().user for child in [core, *core.children()]) - before)
