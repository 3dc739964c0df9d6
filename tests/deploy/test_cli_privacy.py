"""``whetstone erase`` on a real ledger: what goes, what is printed, and that it asks first."""

import io
import json
import sys
from pathlib import Path

import pytest

from deploy.cli import main
from feedback import interactions, tombstones
from feedback.client import Ledger
from tests.builders import make_interaction

pytestmark = pytest.mark.redis


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run ``whetstone ARGUMENTS``; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["whetstone", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 0, capsys.readouterr().out


@pytest.fixture(autouse=True)
def _settings(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", ledger.url)
    monkeypatch.setenv("WHETSTONE_ARTIFACT_ROOT", str(tmp_path))
    interactions.append(ledger, make_interaction())


def test_a_customer_is_erased_and_the_receipt_printed_and_listed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = run(monkeypatch, capsys, "erase", "acme", "--yes", "--actor", "olga", "--json")
    receipt = json.loads(out)
    assert code == 0
    assert (receipt["actor"], receipt["counts"], receipt["state"]) == ("olga", {"interactions": 1}, "running")
    assert list(interactions.read(ledger)) == []
    code, out = run(monkeypatch, capsys, "erasures")
    assert code == 0
    assert receipt["id"] in out
    assert "acme" in out
    assert json.loads(run(monkeypatch, capsys, "erasures", "--json")[1]) == [receipt]


def test_for_a_person_it_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(monkeypatch, capsys, "erase", "acme", "--yes")
    assert code == 0
    assert "removed, interactions" in out
    assert "policies trained on them" in out


def test_without_yes_it_asks_and_no_answer_is_a_no(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _ = run(monkeypatch, capsys, "erase", "acme")
    assert code == 1
    assert tombstones.read(ledger).by_customer == {}
    assert len(list(interactions.read(ledger))) == 1
