"""``whetstone contest`` on a real ledger: begun, refused, shown."""

import json
import sys
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.cli.contests import rate
from feedback import contests, keys, policies, promotion, prompts
from feedback.client import Ledger
from feedback.contest_results import WinRate
from tests.builders import make_policy, make_prompt

pytestmark = pytest.mark.redis


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run ``whetstone contest ARGUMENTS``; return its exit code and what it printed, errors included."""
    monkeypatch.setattr(sys, "argv", ["whetstone", "contest", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    code, said = ended.value.code, capsys.readouterr()
    return code if isinstance(code, int) else 0, said.out + said.err


@pytest.fixture(autouse=True)
def _served(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", ledger.url)
    slots = []
    for number in range(2):
        policies.register(ledger, make_policy(f"policy-000{number}"))
        slots.append({"slot": "ab"[number], "version": f"policy-000{number}", "state": "ready"})
    promotion.promote(ledger, "policy-0000", "olga")
    ledger.redis.set(keys.replica("one"), json.dumps({"slots": slots}))
    for number in range(3):
        prompts.keep(ledger, make_prompt(f"{number}?", customer="held out", split="test"), f"{number:09}", 100)


def test_a_contest_is_begun_and_shown(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = run(monkeypatch, capsys, "start", "live", "policy-0001", "--prompts", "2", "--actor", "olga")
    [contest] = contests.list_contests(ledger)
    assert code == 0
    assert out.startswith(f"{contest.id}: policy-0000 against policy-0001 on 2 prompts")
    assert contest.actor == "olga"
    code, out = run(monkeypatch, capsys, "show", contest.id)
    assert code == 0
    assert "win rate of a        -" in out
    code, out = run(monkeypatch, capsys, "show", "--json")
    assert [each["contest"]["id"] for each in json.loads(out)] == [contest.id]
    code, out = run(monkeypatch, capsys, "show")
    assert "0 of 2" in out


def test_what_cannot_be_compared_is_one_line_and_a_status(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = run(monkeypatch, capsys, "start", "live", "policy-0000", "--prompts", "2")
    assert (code, out) == (1, "whetstone: policy-0000 cannot be compared with itself\n")
    code, out = run(monkeypatch, capsys, "show", "cts_none")
    assert (code, out) == (1, "whetstone: no contest 'cts_none'\n")


def test_a_win_rate_says_what_it_rests_on() -> None:
    assert rate(WinRate(0.625, 0.5, 0.75, 40, 120)) == "0.625 [0.500, 0.750] n=40 (120 labels)"
    assert rate(WinRate(1.0, None, None, 2, 2)) == "1.000 n=2 (2 labels)"
    assert rate(WinRate(None, None, None, 0, 0)) == "-"
