import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from feedback.errors import EngineError, SwapFailed
from serve.engines.base import Token
from serve.swapping.probe import verify
from tests.serve.fakes import FakeEngine

GOOD = {"prompt_token_ids": [1, 2], "token_ids": [7, 8], "logprobs": [-0.5, -1.5]}


def run(directory: Path, rows: Any = None, says: list[Token] | None = None) -> int:
    """Verify a fake engine that says 7 (-0.5), 8 (-1.5) unless told otherwise."""
    if rows is not None:
        (directory / "probe.json").write_text(json.dumps(rows))
    engine = FakeEngine(directory, "policy-0001")
    engine.says = says or engine.says
    return asyncio.run(verify(engine, directory, 0.02))


def test_an_engine_that_says_what_it_should_passes(tmp_path: Path) -> None:
    by_messages = {**GOOD, "messages": [{"role": "user", "content": "hi"}]}
    del by_messages["prompt_token_ids"]
    assert run(tmp_path, [GOOD, by_messages]) == 2


def test_without_stored_probes_a_finite_token_is_enough(tmp_path: Path) -> None:
    assert run(tmp_path) == 0


def test_a_dead_engine_fails(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, "policy-0001")
    engine.dead = True
    with pytest.raises(EngineError):
        asyncio.run(verify(engine, tmp_path, 0.02))


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ([Token(7, -0.5), Token(9, -0.2)], "token 9 instead of 8 at place 1"),
        ([Token(7, -0.53), Token(8, -1.5)], "log-probability -0.5300 instead of -0.5000 at place 0"),
        ([Token(7, float("nan")), Token(8, -1.5)], "log-probability nan"),
        ([Token(7, -0.5)], "1 tokens instead of 2"),
    ],
)
def test_a_difference_fails_and_says_where(tmp_path: Path, says: list[Token], reason: str) -> None:
    with pytest.raises(SwapFailed, match=reason):
        run(tmp_path, [GOOD], says)


def test_a_tie_may_go_either_way(tmp_path: Path) -> None:
    assert run(tmp_path, [GOOD], [Token(7, -0.5), Token(9, -1.5002)]) == 1


@pytest.mark.parametrize("rows", [5, [5], [{}], [{**GOOD, "token_ids": [7]}], [{**GOOD, "prompt_token_ids": []}]])
def test_malformed_probes_fail(tmp_path: Path, rows: Any) -> None:
    with pytest.raises(SwapFailed, match="malformed"):
        run(tmp_path, rows)
