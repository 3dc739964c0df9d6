import asyncio
import json
import os
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from feedback.errors import EngineError
from serve.asking.trials import Trials
from serve.errors import InvalidRequest
from tests.serve.conftest import make_policy

GOOD = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": False}
SLOW = {"type": "string", "pattern": "a{1,5000}b{1,5000}"}
LIMIT_S = 1.0


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy whose tokenizer is used."""
    pytest.importorskip("xgrammar")
    return make_policy(tmp_path_factory.mktemp("trials") / "policy", 0)


def run(use: Any) -> Any:
    """Run ``use(trials)`` on a loop of its own and end the process afterwards."""

    async def main() -> Any:
        trials = Trials(LIMIT_S)
        try:
            return await use(trials)
        finally:
            await trials.close()

    return asyncio.run(main())


def check(trials: Trials, policy: Path, *schemas: Any) -> Coroutine[Any, Any, None]:
    return trials.check([json.dumps(each).encode() for each in schemas], policy, "response_format")


async def verdict(trials: Trials, policy: Path, schema: Any) -> tuple[str, float]:
    """Return why a schema was refused (or nothing) and how long that took, seconds."""
    started = time.perf_counter()
    (found,) = await asyncio.gather(check(trials, policy, schema), return_exceptions=True)
    took_s = time.perf_counter() - started
    if found is None:
        return "", took_s
    assert isinstance(found, InvalidRequest), found
    assert (found.param, found.code, found.status) == ("response_format", "invalid_schema", 400)
    return str(found), took_s


def test_good_schemas_pass_and_bad_ones_do_not(policy: Path) -> None:
    async def use(trials: Trials) -> None:
        assert (await verdict(trials, policy, GOOD))[0] == ""
        for schema, why in (
            ({"type": "nonsense"}, "Unsupported type"),
            ({"type": "string", "pattern": "(a"}, "parenthesis"),
            ({"type": "string", "pattern": "a{1,3000}"}, "too long to be understood"),
        ):
            found, _ = await verdict(trials, policy, schema)
            assert why in found
            assert "<path>" not in found
        assert (await verdict(trials, policy, GOOD))[0] == ""

    run(use)


def test_what_takes_too_long_is_ended_in_time_and_others_go_on(policy: Path) -> None:
    async def use(trials: Trials) -> None:
        await check(trials, policy, GOOD)  # the libraries are imported by now
        (slow, slow_s), (quick, _) = await asyncio.gather(
            verdict(trials, policy, SLOW), verdict(trials, policy, {"type": "integer"})
        )
        assert "longer than 1 s" in slow
        assert slow_s < LIMIT_S + 1
        assert quick == ""
        again, again_s = await verdict(trials, policy, SLOW)
        assert again == slow
        assert again_s < 0.05, "a verdict is remembered"

    run(use)


def test_a_process_that_ended_is_started_again(policy: Path) -> None:
    async def use(trials: Trials) -> None:
        await check(trials, policy, GOOD)
        process = trials._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        await check(trials, policy, {"type": "boolean"})
        assert trials._process is not process

    run(use)


def test_a_missing_tokenizer_is_our_fault(tmp_path: Path) -> None:
    pytest.importorskip("xgrammar")

    async def use(trials: Trials) -> None:
        with pytest.raises(EngineError):
            await check(trials, tmp_path, GOOD)

    run(use)


def test_nothing_is_started_for_no_schemas(tmp_path: Path) -> None:
    async def use(trials: Trials) -> None:
        await trials.check([], tmp_path, "response_format")
        assert trials._process is None

    run(use)


def test_the_process_inherits_no_secret_and_ends_with_its_trials(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", "redis://:secret@127.0.0.1:1/0")

    async def use(trials: Trials) -> int:
        await check(trials, policy, GOOD)
        assert trials._process is not None
        assert b"WHETSTONE_" not in Path(f"/proc/{trials._process.pid}/environ").read_bytes()
        return trials._process.pid

    with pytest.raises(ProcessLookupError):
        os.kill(run(use), 0)
