"""``whetstone rounds`` on a real ledger: asked for, cancelled, shown; and what status says of them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.cli import main
from feedback import promotion, rounds
from feedback.client import Ledger
from feedback.records import Outlook, utc_now
from tests.builders import make_round

pytestmark = pytest.mark.redis


class Ended(NamedTuple):
    code: int
    out: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run ``whetstone ARGUMENTS`` inside the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", ledger.url)

    def whetstone(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["whetstone", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, capsys.readouterr().out)

    return whetstone


def test_a_round_is_asked_for_once_and_shown(run: Run, ledger: Ledger) -> None:
    assert run("rounds", "start", "ppo").code == 0
    assert rounds.requested(ledger) == "ppo"
    assert run("rounds", "start", "sft").code == 1
    rounds.save(ledger, make_round(id="rnd_7", stage="reward", seconds={"snapshot": 1.5, "reward": 20.0}))
    assert "rnd_7" in run("rounds", "show").out
    assert run("rounds", "show", "rnd_7", "--json").json["seconds"] == {"snapshot": 1.5, "reward": 20.0}
    assert "reward, seconds" in run("rounds", "show", "rnd_7").out
    assert run("rounds", "show", "--json").json["requested"] == "ppo"


def test_a_round_is_cancelled_and_the_word_is_in_the_audit(run: Run, ledger: Ledger) -> None:
    assert run("rounds", "cancel").code == 1
    rounds.request(ledger, "ppo")
    assert run("rounds", "cancel").out == "the request for a round is taken back\n"
    assert rounds.requested(ledger) == ""
    rounds.begin(ledger, make_round(id="rnd_7", reason="100 new labels (at least 100)"))
    assert run("rounds", "cancel", "--json").json == {"cancelled": "rnd_7"}
    assert rounds.is_cancelled(ledger, "rnd_7")
    assert [entry.subject for entry in promotion.audit(ledger) if entry.action == "cancel round"] == [
        "request",
        "rnd_7",
    ]
    assert "100 new labels (at least 100)" in run("rounds", "show", "rnd_7").out


def test_status_says_why_a_round_began_and_what_the_next_one_waits_for(run: Run, ledger: Ledger) -> None:
    assert "no trainer says anything" in run("status").out
    said = Outlook(at=utc_now(), waits_for=["ppo: 37 of 100 new labels"], new_labels=37, new_demonstrations=0)
    rounds.set_outlook(ledger, said)
    assert "ppo: 37 of 100 new labels" in run("status").out
    rounds.begin(ledger, make_round(id="rnd_7", reason="an operator asked for it"))
    shown = run("status").out
    assert "because an operator asked for it" in shown
    assert "after the running one" in shown
    assert run("status", "--json").json["round_outlook"]["new_labels"] == 37
