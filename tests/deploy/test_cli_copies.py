"""``whetstone reconcile`` on a real ledger: what it prints, how it ends, and what it puts back."""

import json
from pathlib import Path

import pytest

from feedback import copies, keys, labels
from feedback.client import Ledger
from feedback.records import Label
from tests.builders import lease_next, make_label, open_comparison
from tests.deploy.test_cli_privacy import run

pytestmark = pytest.mark.redis
Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def label(ledger: Ledger, monkeypatch: Patch, tmp_path: Path) -> Label:
    """A label that was copied."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", ledger.url)
    monkeypatch.setenv("WHETSTONE_ARTIFACT_ROOT", str(tmp_path))
    comparison = open_comparison(ledger)
    made = make_label(comparison)
    labels.submit(ledger, made, comparison, lease_next(ledger).token)
    copies.copy(ledger, tmp_path)
    return made


def test_where_both_agree_it_ends_well(label: Label, monkeypatch: Patch, capsys: Capture) -> None:
    code, out = run(monkeypatch, capsys, "reconcile")
    assert code == 0
    assert "UNCOPIED" in out
    assert label.id not in out


def test_a_loss_is_named_then_written_back(ledger: Ledger, label: Label, monkeypatch: Patch, capsys: Capture) -> None:
    ledger.redis.delete(keys.LABELS)
    code, out = run(monkeypatch, capsys, "reconcile")
    assert code == 1
    assert f"labels, lost: {label.id}" in out
    code, out = run(monkeypatch, capsys, "reconcile", "--restore")
    assert code == 0
    assert "1 labels written back" in out
    assert [each for _, each in labels.read(ledger)] == [label]


def test_for_a_program_it_is_json(ledger: Ledger, label: Label, monkeypatch: Patch, capsys: Capture) -> None:
    ledger.redis.delete(keys.LABELS)
    code, out = run(monkeypatch, capsys, "reconcile", "--json")
    told = json.loads(out)
    assert (code, told["agrees"], told["restored"]) == (1, False, {})
    assert told["found"][0]["lost"] == [label.id]
