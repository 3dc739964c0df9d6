"""The demonstration's report: each bar is held against its figure, and what is missing is a miss."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.demo import report
from deploy.demo.director import Story
from feedback import policies, promotion, snapshots
from feedback.client import Ledger
from tests.builders import make_directory, make_policy

GOOD: dict[str, Any] = {
    "final": "policy-0003",
    "win_rate": {
        "policy-0003": {"sft": {"low": 0.55, "mean": 0.6, "high": 0.65}, "base": {"low": 0.7, "mean": 0.8, "high": 0.9}}
    },
    "swaps": {"failed": 0, "truncated": 0, "mixed_version": 0, "requests_in_flight": 8},
    "prompts_logged": 100,
    "prompts_served_with_consent": 100,
    "labels": 40,
    "labels_submitted": 40,
    "labels_unaccounted": 0,
    "lineage_ok": True,
    "wall_s": 300.0,
    "policies": [
        {
            "version": "policy-0003",
            "kind": "ppo",
            "gold_score": {"mean": 0.4},
            "hallucination_rate": 0.1,
            "rude_rate": 0.0,
        }
    ],
}


def missed(**changes: Any) -> list[str]:
    return [bar["name"] for bar in report.bars(GOOD | changes) if not bar["pass"]]


def test_a_good_demonstration_meets_every_bar() -> None:
    assert missed() == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (
            {"win_rate": {"policy-0003": {"sft": {"low": 0.5}, "base": {"mean": 0.8}}}},
            "final against SFT, win_rate.low",
        ),
        (
            {"win_rate": {"policy-0003": {"sft": {"low": 0.6}, "base": {"mean": 0.74}}}},
            "final against base, win_rate.mean",
        ),
        ({"swaps": GOOD["swaps"] | {"failed": 1}}, "swaps.failed"),
        ({"swaps": GOOD["swaps"] | {"truncated": 1}}, "swaps.truncated"),
        ({"swaps": GOOD["swaps"] | {"mixed_version": 1}}, "swaps.mixed_version"),
        ({"swaps": GOOD["swaps"] | {"requests_in_flight": 7}}, "swaps.requests_in_flight"),
        ({"prompts_logged": 99}, "prompts_logged"),
        ({"labels": 39}, "labels"),
        ({"labels_unaccounted": 1}, "labels_unaccounted"),
        ({"lineage_ok": False}, "lineage_ok"),
        ({"wall_s": 480.1}, "wall_s"),
    ],
)
def test_each_bar_can_be_missed_by_itself(changes: dict[str, Any], name: str) -> None:
    assert missed(**changes) == [name]


def test_a_policy_without_win_rates_misses_both() -> None:
    assert len(missed(win_rate={})) == 2


def test_what_is_in_the_ledger_is_what_the_books_say(ledger: Ledger, tmp_path: Path) -> None:
    sha256 = make_directory(tmp_path, "policies/0")
    policies.register(ledger, make_policy(path="policies/0", sha256=sha256))
    promotion.promote(ledger, "candidate", "olga")
    snapshots.build(ledger, tmp_path)
    found = report.bookkeeping(ledger, tmp_path, Story())
    assert found["lineage_ok"]
    assert (found["labels"], found["labels_unaccounted"], found["prompts_logged"]) == (0, 0, 0)
    (tmp_path / "policies/0/model.safetensors").write_text("other")
    assert not report.bookkeeping(ledger, tmp_path, Story())["lineage_ok"]


def test_the_report_is_written_as_json_and_shown_with_every_bar(tmp_path: Path) -> None:
    found = GOOD | {"bars": report.bars(GOOD)}
    report.write(found, tmp_path / "deep" / "report.json")
    assert json.loads((tmp_path / "deep" / "report.json").read_text())["wall_s"] == 300.0
    out = io.StringIO()
    report.show(found, Console(file=out, width=160))
    assert "policy-0003" in out.getvalue()
    assert out.getvalue().count("met") >= len(found["bars"])
