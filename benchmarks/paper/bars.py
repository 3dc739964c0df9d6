"""The bars of ``make paper``: what is promised of the miniature, and whether its figures keep it.

Knows the promises; the estimates behind them are in `benchmarks.paper.findings`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Bar, report
from benchmarks.paper import page
from benchmarks.paper.findings import at_equal_gain, change, folds
from benchmarks.paper.summary import Estimate, Results, estimate, minus, ratio

RUN_FILE = "run.json"
Figures = dict[str, Estimate | None]


def finish(root: Path, seeds: Sequence[int], docs: Path = ROOT / "docs") -> int:
    """Write the page from the results of these seeds and report the bars; 0, whether they are kept or not."""
    results = page.make(root, seeds, docs)
    found = estimates(results)
    figures: dict[str, Any] = {
        name: {"mean": each.mean, "low": each.low, "high": each.high, "seeds": each.values}
        for name, each in found.items()
        if each is not None
    }
    run = root / RUN_FILE
    report("paper", figures | {"run": json.loads(run.read_text()) if run.exists() else None}, bars(found))
    return 0


def estimates(results: Results) -> Figures:
    """Return the estimates that bars are about; None where an arm is missing."""
    tax = at_equal_gain(results, "ppo")
    hallucination = (results.figure(arm, "hallucination_rate") for arm in ("ppo-ptx", "base"))
    return {
        "ptx_loss_rise": estimate(change(results, "ppo-ptx")),
        "plain_loss_rise_at_equal_gain": estimate(tax.other),
        "plain_loss_rise_at_end": estimate(change(results, "ppo")),
        "win_rate_against_sft": results.win_rate("ppo-ptx", "sft"),
        "hallucination_against_base": estimate(ratio(*hallucination)),
        "held_out_labelers_gap": estimate(minus(folds(results, "own_accuracy"), folds(results, "other_accuracy"))),
    }


def bars(found: Figures) -> list[Bar]:
    """Return the bars: means over seeds, of the win rate the lower bound of the interval over seeds."""
    wins = found["win_rate_against_sft"]

    def mean(name: str) -> float:
        each = found[name]
        return each.mean if each else math.nan

    return [
        Bar("held-out text loss of PPO-ptx above its start, share", mean("ptx_loss_rise"), "<=", 0.02),
        Bar("of plain PPO at equal gain of reward, share", mean("plain_loss_rise_at_equal_gain"), ">=", 0.10),
        Bar("PPO-ptx against SFT, lower bound of the win rate", wins.low if wins else math.nan, ">", 0.60),
        Bar("invented answers of PPO-ptx, share of the base's", mean("hallucination_against_base"), "<=", 0.5),
        Bar("own minus held-out labelers' accuracy", mean("held_out_labelers_gap"), "<=", 0.03),
    ]
