"""Our stage is told what TRL's trainer is told."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ppo_world import Problem
from benchmarks.reward_ours import settings
from benchmarks.reward_world import OPTIMIZER, Setting, write


def test_settings_are_those_of_the_rows(tmp_path: Path) -> None:
    setting = Setting(k=2, tokens=8, prompts=3, steps=2, seed=7)
    write(setting, Problem(tmp_path / "problem", vocabulary=64), tmp_path)
    given = {"problem": str(tmp_path / "problem"), "side": "packed"}
    told = settings(given, tmp_path)
    assert (told.batch_size, told.seed, told.max_prompt_tokens, told.max_completion_tokens) == (3, 7, 8, 8)
    assert (told.lr, told.max_grad_norm) == (OPTIMIZER["lr"], OPTIMIZER["max_grad_norm"])
    assert told.packed
    assert told.checkpoint_every == 0
    assert not settings(given | {"side": "padded"}, tmp_path).packed
