"""What reports are made of."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common
from benchmarks.common import Bar, percentile, report


@pytest.mark.parametrize("q", [0, 1, 50, 99, 100])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_percentiles_are_numpys(size: int, q: float) -> None:
    values = np.random.default_rng(size).exponential(size=size).tolist()
    assert percentile(values, q) == pytest.approx(float(np.percentile(values, q)))


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 50))


@pytest.mark.parametrize(
    ("value", "op", "target", "passed"),
    [
        (1, ">=", 1, True),
        (0.99, ">=", 1, False),
        (25, "<=", 25, True),
        (25.1, "<=", 25, False),
        (0, "==", 0, True),
        (1, "==", 0, False),
        (math.nan, ">=", 0, False),
        (math.nan, "<=", 0, False),
    ],
)
def test_a_bar_is_kept_or_not(value: float, op: str, target: float, passed: bool) -> None:
    assert Bar("name", value, op, target).passed is passed


def test_a_report_is_one_line_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "ROOT", tmp_path)
    report("spool", {"lost": 0}, [Bar("lost", 0, "==", 0)])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((tmp_path / "var/bench/spool.json").read_text())
    assert printed == {
        "bench": "spool",
        "commit": "",
        "figures": {"lost": 0},
        "bars": [{"name": "lost", "value": 0, "op": "==", "target": 0, "pass": True}],
    }
