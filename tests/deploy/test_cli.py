"""The command line on a real ledger: what it prints, what it changes, how it ends."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.cli import main
from feedback import access, collection, policies, promotion
from feedback.client import Ledger
from feedback.errors import InvalidKey
from tests.builders import make_directory, make_policy, make_report

ROOT = Path(__file__).parent.parent.parent


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run ``whetstone ARGUMENTS`` inside the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", ledger.url)
    monkeypatch.setenv("WHETSTONE_ARTIFACT_ROOT", str(tmp_path))

    def whetstone(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["whetstone", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, said.out, said.err)

    return whetstone


@pytest.fixture
def candidate(ledger: Ledger, tmp_path: Path) -> Ledger:
    """A ledger with a live base, policy-0000, and a candidate, policy-0001, whose files exist."""
    for version, kind, parent in (("policy-0000", "base", ""), ("policy-0001", "ppo", "policy-0000")):
        sha256 = make_directory(tmp_path, f"policies/{version}")
        policies.register(ledger, make_policy(version, kind=kind, parent=parent, sha256=sha256))
    promotion.promote(ledger, "policy-0000", "set-up")
    return ledger


def test_a_created_key_opens_and_a_revoked_one_does_not(run: Run, ledger: Ledger) -> None:
    made = run("keys", "create", "client", "acme", "--no-consent", "--json")
    assert made.code == 0
    secret, id = made.json["key"], made.json["id"]
    assert access.find(ledger, secret).consent is False
    assert "secret_sha256" not in made.json
    assert secret not in run("keys", "list").out
    assert run("keys", "revoke", id).code == 0
    with pytest.raises(InvalidKey):
        access.find(ledger, secret)
    assert "revoked" in run("keys", "list").out


def test_without_json_only_the_key_is_on_standard_output(run: Run, ledger: Ledger) -> None:
    made = run("keys", "create", "labeler", "ann", "--group", "held-out")
    key = access.find(ledger, made.out.strip())
    assert (key.role, key.owner, key.group) == ("labeler", "ann", "held-out")
    assert key.id in made.err


def test_quotas_and_times_are_set_changed_and_listed(run: Run, ledger: Ledger) -> None:
    made = run("keys", "create", "client", "acme", "--requests-per-minute", "60", "--starts-days", "2", "--json")
    assert (made.json["requests_per_minute"], made.json["state"]) == (60, "not yet valid")
    id = made.json["id"]
    changed = run("keys", "change", id, "--tokens-per-day", "9000", "--no-consent", "--json").json
    assert (changed["requests_per_minute"], changed["tokens_per_day"], changed["consent"]) == (60, 9000, False)
    access.note_used(ledger, {id: 1_700_000_000})
    listed = run("keys", "list").out
    assert "60/min 9000/day" in listed
    assert run("keys", "list", "--json").json[0]["last_used_at"] == "2023-11-14T22:13:20Z"
    assert [entry.action for entry in promotion.audit(ledger)] == ["make key", "change key"]


def test_the_last_operator_key_stays(run: Run, ledger: Ledger) -> None:
    id = run("keys", "create", "operator", "olga", "--json").json["id"]
    refused = run("keys", "revoke", id)
    assert (refused.code, "make another one" in refused.err) == (1, True)
    run("keys", "create", "operator", "otto")
    assert run("keys", "revoke", id).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["keys", "create", "king", "arthur"], 2, "role 'king' is unknown"),
        (["keys", "create", "client", "acme", "--group", "training"], 2, "--group is for labelers"),
        (["keys", "create", "client", "acme", "--skill", "lang:de"], 2, "--skill is for labelers"),
        (["keys", "create", "client"], 2, "Missing argument"),
        (["keys", "create", "client", "acme", "--tokens-per-day", "-1"], 2, "Invalid value"),
        (["keys", "change", "key_none", "--consent"], 1, "no API key has the id 'key_none'"),
        (["keys", "change", "key_none"], 2, "nothing to change"),
        (["keys", "revoke", "key_none"], 1, "no API key has the id 'key_none'"),
        (["promote", "policy-0099"], 1, "no policy 'policy-0099'"),
        (["promote", "policy-0099", "--override"], 2, "--override needs --reason"),
        (["rollback"], 1, "no previous version"),
        (["rounds", "start", "dpo"], 2, "round kind 'dpo' is unknown"),
        (["rounds", "show", "rnd_none"], 1, "no round 'rnd_none'"),
        (["lineage", "policy-0099"], 1, "no policy 'policy-0099'"),
        (["collect", "stamps"], 2, "cannot collect 'stamps'"),
        (["fly"], 2, "No such command"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    run: Run, arguments: list[str], code: int, sentence: str
) -> None:
    ended = run(*arguments)
    assert ended.code == code
    assert sentence in ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err


def test_a_candidate_that_passes_the_gate_is_promoted_and_rolled_back(run: Run, candidate: Ledger) -> None:
    policies.add_report(candidate, make_report())
    promoted = run("promote", "candidate", "--reason", "better", "--actor", "olga")
    assert promoted.code == 0
    assert "win_rate.low" in promoted.out
    assert policies.aliases(candidate)["live"] == "policy-0001"
    assert run("rollback", "--json").json == {"version": "policy-0000"}
    assert policies.aliases(candidate)["live"] == "policy-0000"
    entry = list(promotion.audit(candidate))[1]
    assert (entry.actor, entry.action, entry.after, entry.reason) == ("olga", "promote", "policy-0001", "better")


def test_the_gate_refuses_with_its_reasons_and_an_override_is_audited(run: Run, candidate: Ledger) -> None:
    policies.add_report(candidate, make_report(kl_nats=99.0))
    refused = run("promote", "policy-0001", "--json")
    assert refused.code == 1
    assert refused.json["promoted"] is False
    assert "FAIL kl_nats 99 (bar <= 30)" in refused.json["decision"]["reasons"]
    assert policies.aliases(candidate)["live"] == "policy-0000"
    assert run("promote", "policy-0001", "--override", "--reason", "an experiment").code == 0
    assert policies.aliases(candidate)["live"] == "policy-0001"
    actions = [(entry.action, entry.reason) for entry in promotion.audit(candidate)][1:]
    assert actions[0][0] == "promote refused"
    assert actions[1] == ("promote", "override: an experiment")


def test_a_policy_that_is_live_cannot_be_promoted_again(run: Run, candidate: Ledger) -> None:
    policies.add_report(candidate, make_report())
    run("promote", "policy-0001")
    again = run("promote", "policy-0001")
    assert (again.code, again.err) == (1, "whetstone: policy-0001 is live already\n")


def test_policies_are_listed_with_figures_and_the_gates_word(run: Run, candidate: Ledger) -> None:
    policies.add_report(candidate, make_report())
    listed = run("policies").out.splitlines()
    assert listed[0].split()[:4] == ["VERSION", "KIND", "PARENT", "ALIASES"]
    assert listed[2].split()[:4] == ["policy-0001", "ppo", "policy-0000", "candidate"]
    assert "0.700 [0.610, 0.780] n=120" in listed[2]
    rows = run("policies", "--json").json
    assert [row["decision"]["promote"] for row in rows] == [False, True]


def test_lineage_is_traced_and_a_changed_file_is_found(run: Run, candidate: Ledger, tmp_path: Path) -> None:
    assert [entry["version"] for entry in run("lineage", "candidate", "--json").json["chain"]] == [
        "policy-0001",
        "policy-0000",
    ]
    checked = run("lineage", "candidate", "--verify")
    assert (checked.code, checked.out.splitlines()[-1]) == (0, "every link and every file checks out")
    changed = next(path for path in (tmp_path / "policies/policy-0000").iterdir() if path.name != "manifest.json")
    changed.write_text("other weights")
    found = run("lineage", "candidate", "--verify")
    assert found.code == 1
    assert "does not match its manifest" in found.out


def test_what_is_collected_can_be_switched_while_everything_runs(run: Run, ledger: Ledger) -> None:
    assert run("collect").out == "collecting both\n"
    assert run("collect", "comparisons").code == 0
    assert collection.collected(ledger) == "comparisons"


def test_status_shows_the_loop_and_the_replicas(run: Run, candidate: Ledger) -> None:
    candidate.redis.set("ws:replica:north", json.dumps({"slots": [{"slot": "a", "version": "policy-0000"}]}))
    found = run("status", "--json").json
    assert found["aliases"] == {"live": "policy-0000", "candidate": "policy-0001"}
    assert found["queues"]["training"] == found["counts"]["labels"] == 0
    assert found["replicas"] == {"north": {"slots": [{"slot": "a", "version": "policy-0000"}]}}
    shown = run("status").out
    assert "replica north" in shown
    assert "a policy-0000" in shown


def test_hostile_names_are_printed_as_they_are(run: Run, ledger: Ledger) -> None:
    access.create(ledger, "client", "[bold red]acme[/] :smile:")
    assert "[bold red]acme[/] :smile:" in run("keys", "list").out


@pytest.mark.parametrize(
    "command", [[], ["keys"], ["rounds"], *([name] for name in ("status", "promote", "up", "demo", "lineage"))]
)
def test_every_command_explains_itself(run: Run, command: list[str]) -> None:
    shown = run(*command, "--help")
    assert shown.code == 0
    assert "Usage: whetstone" in shown.out


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [("redis://127.0.0.1:1/0", 3, "no Redis answers at redis://127.0.0.1:1/0"), ("nonsense", 2, "not a Redis URL")],
)
def test_a_dead_ledger_is_one_line_on_standard_error(tmp_path: Path, url: str, code: int, sentence: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "status"],
        env={**os.environ, "WHETSTONE_LEDGER_URL": url, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith("whetstone: ")
    assert sentence in line


def test_a_canary_is_begun_shown_and_ended(run: Run, candidate: Ledger) -> None:
    assert run("policies", "canary").out == "no canary runs\n"
    begun = run("policies", "canary", "candidate", "--share", "10", "--actor", "olga", "--reason", "a tenth")
    assert (begun.code, begun.out) == (0, "policy-0001 answers 10 % of the callers of live\n")
    assert run("policies", "canary", "--json").json["canary"]["share"] == 10
    assert "policy-0001 for 10 % of the callers of live" in run("status").out
    again = run("policies", "canary", "policy-0000", "--share", "5")
    assert (again.code, again.err) == (1, "whetstone: policy-0000 is live; a canary is another policy\n")
    ended = run("policies", "canary", "--end", "--json").json
    assert (ended["canary"], ended["ended"]["version"]) == (None, "policy-0001")
    assert run("policies", "canary", "--end").code == 1
    assert [entry.action for entry in promotion.audit(candidate)][1:] == ["begin canary", "end canary"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("candidate",),
        ("--share", "10"),
        ("candidate", "--share", "101"),
        ("candidate", "--share", "-1"),
        ("candidate", "--share", "12.5"),
        ("candidate", "--share", "10%"),
        ("candidate", "--share", "10", "--end"),
    ],
)
def test_a_canary_without_a_whole_share_is_wrong_usage(run: Run, candidate: Ledger, arguments: tuple[str, ...]) -> None:
    assert run("policies", "canary", *arguments).code == 2
    assert candidate.redis.exists("ws:canary") == 0
