"""``whetstone guidelines`` on a real ledger: publish, show, list."""

import io
import json
import sys
from pathlib import Path

import pytest

from deploy.cli import main
from feedback import guidelines
from feedback.client import Ledger

pytestmark = pytest.mark.redis


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run ``whetstone guidelines ARGUMENTS``; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["whetstone", "guidelines", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 0, capsys.readouterr().out


@pytest.fixture(autouse=True)
def _settings(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", ledger.url)


def test_a_file_is_published_shown_and_listed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rules.md").write_text("# Rules\n\nBe kind [truly].\n", encoding="utf-8")
    code, out = run(monkeypatch, capsys, "publish", "rules.md", "--change", "All new.", "--actor", "olga")
    assert (code, out) == (0, "version 2 is in force; labelers acknowledge it before their next item\n")
    made = guidelines.current(ledger)
    assert (made.version, made.actor, made.must_acknowledge) == ("2", "olga", True)
    assert run(monkeypatch, capsys, "show") == (0, "# Rules\n\nBe kind [truly].\n")
    assert run(monkeypatch, capsys, "show", "1")[1].startswith("# Guidelines for labelers\n")
    assert "All new." in run(monkeypatch, capsys, "list")[1]
    listed = json.loads(run(monkeypatch, capsys, "list", "--json")[1])
    assert [each["version"] for each in listed] == ["2", "1"]


def test_standard_input_is_published_without_a_need_to_acknowledge(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("# Typos mended"))
    arguments = ("publish", "-", "--change", "Typos.", "--no-acknowledge", "--json")
    code, out = run(monkeypatch, capsys, *arguments)
    assert (code, json.loads(out)["must_acknowledge"]) == (0, False)
    assert guidelines.current(ledger).text == "# Typos mended"


def test_what_cannot_be_read_or_says_nothing_is_refused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bytes.md").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.md").write_text(" \n")
    assert run(monkeypatch, capsys, "publish", "nowhere.md", "--change", "x")[0] == 2
    assert run(monkeypatch, capsys, "publish", "bytes.md", "--change", "x")[0] == 2
    assert run(monkeypatch, capsys, "publish", "empty.md", "--change", "x")[0] == 1
    assert run(monkeypatch, capsys, "show", "9")[0] == 1
    assert guidelines.current(ledger).version == "1"
