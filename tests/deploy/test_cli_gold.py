"""``whetstone gold`` on a real ledger: add, list, remove, and what is refused."""

import json
import sys
from pathlib import Path

import pytest

from deploy.cli import main
from feedback import gold, promotion
from feedback.client import Ledger
from tests.builders import open_comparison

pytestmark = pytest.mark.redis


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run ``whetstone gold ARGUMENTS``; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["whetstone", "gold", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    said = capsys.readouterr()
    return code if isinstance(code, int) else 0, said.out, said.err


@pytest.fixture(autouse=True)
def _settings(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", ledger.url)


def test_a_check_is_added_listed_and_removed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    id = open_comparison(ledger).id
    code, out, _ = run(monkeypatch, capsys, "add", id, "0>3", "1>3", "--actor", "olga")
    assert (code, out) == (0, f"{id} is a hidden check now\n")
    assert gold.all_checks(ledger)[0].pairs == [(0, 3), (1, 3)]
    assert "0>3, 1>3" in run(monkeypatch, capsys, "list")[1]
    (listed,) = json.loads(run(monkeypatch, capsys, "list", "--json")[1])
    assert (listed["comparison_id"], listed["source"]) == (id, "operator")
    assert run(monkeypatch, capsys, "remove", id, "--actor", "olga")[0] == 0
    assert gold.all_checks(ledger) == []
    assert [(entry.actor, entry.action) for entry in promotion.audit(ledger)] == [
        ("olga", "add gold check"),
        ("olga", "remove gold check"),
    ]


def test_a_practice_item_has_its_explanation(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    id = open_comparison(ledger).id
    code, out, _ = run(monkeypatch, capsys, "add", id, "0>3", "--practice", "--explanation", "3 is rude", "--json")
    assert code == 0
    assert (json.loads(out)["practice"], json.loads(out)["explanation"]) == (True, "3 is rude")


@pytest.mark.parametrize(("pair", "code"), [("0<3", 2), ("0>", 2), ("a>b", 2), ("0>9", 1), ("1>1", 1)])
def test_what_is_no_pair_is_refused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pair: str, code: int
) -> None:
    id = open_comparison(ledger).id
    found, _, err = run(monkeypatch, capsys, "add", id, pair)
    assert found == code
    assert err
    assert gold.all_checks(ledger) == []


def test_an_unknown_comparison_is_refused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, "add", "cmp_none", "0>1")[0] == 1
    assert run(monkeypatch, capsys, "remove", "cmp_none")[0] == 1
