"""Operations over HTTP on a real ledger: watching, the gate, the moves, the audit."""

from typing import TYPE_CHECKING, Any

import pytest

from feedback import policies, promotion, rounds
from feedback.client import Ledger
from feedback.ids import new_id
from feedback.records import EvaluationReport, Kind, Policy, Round, SwapEvent, utc_now

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
GOOD: dict[str, Any] = {
    "win_rate": {"mean": 0.6, "low": 0.53, "high": 0.67, "n": 200},
    "kl_nats": 8.0,
    "length_ratio": 1.1,
    "eos_rate": 0.97,
    "pretraining_loss_rise": 0.02,
}


def register(ledger: Ledger, kind: Kind = "ppo", parent: str = "", figures: dict[str, Any] | None = None) -> str:
    version = policies.next_version(ledger)
    policies.register(
        ledger,
        Policy(
            version=version, created_at=utc_now(), kind=kind, path=f"policies/{version}", sha256="0" * 64, parent=parent
        ),
    )
    if figures is not None:
        report = EvaluationReport(id=new_id("rep"), created_at=utc_now(), version=version, figures=figures)
        policies.add_report(ledger, report)
    return version


def operate(world: "World", method: str, path: str, body: Any = None) -> Any:
    return world.call(method, f"/v1/operations/{path}", body, role="operator", owner="olga")


def test_candidate_that_passes_the_gate_becomes_live_and_is_in_the_audit(world: "World") -> None:
    register(world.ledger, "base")
    version = register(world.ledger, figures=GOOD)
    answer = operate(world, "POST", "promote", {"version": "candidate", "reason": "looks good"})
    assert answer.status_code == 200
    assert answer.json()["version"] == version
    assert answer.json()["decision"]["promote"] is True
    assert len(answer.json()["decision"]["reasons"]) == 6
    assert policies.aliases(world.ledger)["live"] == version
    [entry] = list(promotion.audit(world.ledger))
    assert (entry.actor, entry.action, entry.after, entry.reason) == ("olga", "promote", version, "looks good")


def test_gate_refuses_with_its_reasons_and_says_so_in_the_audit(world: "World") -> None:
    version = register(world.ledger, figures={**GOOD, "kl_nats": 99.0, "win_rate": {"low": 0.4, "n": 200}})
    answer = operate(world, "POST", "promote", {"version": version})
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "gate_refused"
    assert [reason for reason in error["reasons"] if reason.startswith("FAIL")] == [
        "FAIL win_rate.low 0.4 (bar > 0.5)",
        "FAIL kl_nats 99 (bar <= 30)",
    ]
    assert "live" not in policies.aliases(world.ledger)
    [entry] = list(promotion.audit(world.ledger))
    assert (entry.action, entry.subject) == ("promote refused", version)


def test_override_needs_a_reason_and_leaves_it_in_the_audit(world: "World") -> None:
    version = register(world.ledger, "base")
    assert operate(world, "POST", "promote", {"version": version}).status_code == 409
    for reason in ("", "   "):
        refused = operate(world, "POST", "promote", {"version": version, "override": True, "reason": reason})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "reason")
    taken = operate(world, "POST", "promote", {"version": version, "override": True, "reason": "first model"})
    assert taken.status_code == 200
    assert taken.json()["decision"]["promote"] is False
    assert list(promotion.audit(world.ledger))[-1].reason == "override: first model"


def test_supervised_policy_with_a_report_needs_no_win_rate(world: "World") -> None:
    bare = register(world.ledger, "sft")
    assert operate(world, "POST", "promote", {"version": bare}).status_code == 409
    figures = {name: value for name, value in GOOD.items() if name != "win_rate"}
    tested = register(world.ledger, "sft", figures=figures)
    answer = operate(world, "POST", "promote", {"version": tested})
    assert answer.status_code == 200
    assert not any("win_rate" in reason for reason in answer.json()["decision"]["reasons"])
    broken = register(world.ledger, "sft", figures={**figures, "eos_rate": 0.1})
    assert operate(world, "POST", "promote", {"version": broken}).status_code == 409


def test_what_is_live_cannot_be_promoted_again(world: "World") -> None:
    version = register(world.ledger, figures=GOOD)
    assert operate(world, "POST", "promote", {"version": version}).status_code == 200
    again = operate(world, "POST", "promote", {"version": version})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


def test_roll_back_returns_to_the_previous_version_with_or_without_a_body(world: "World") -> None:
    assert operate(world, "POST", "rollback", {}).status_code == 409
    first, second = register(world.ledger, figures=GOOD), register(world.ledger, figures=GOOD)
    for version in (first, second):
        operate(world, "POST", "promote", {"version": version})
    assert operate(world, "POST", "rollback", {"reason": "rude"}).json() == {"version": first}
    headers = {"Authorization": f"Bearer {world.secret('operator', 'olga')}"}
    assert world.client.post("/v1/operations/rollback", headers=headers).json() == {"version": second}
    audit = operate(world, "GET", "audit").json()
    assert [(entry["action"], entry["after"], entry["actor"]) for entry in audit] == [
        ("roll back", second, "olga"),
        ("roll back", first, "olga"),
        ("promote", second, "olga"),
        ("promote", first, "olga"),
    ]
    assert operate(world, "GET", "audit?limit=1").json() == audit[:1]


def test_status_tells_aliases_slots_queues_counts_and_round(world: "World") -> None:
    version = register(world.ledger, figures=GOOD)
    world.comparison(k=2)
    world.demonstration_request()
    record = Round(id=new_id("rnd"), created_at=utc_now(), state="running", stage="ppo")
    rounds.save(world.ledger, record)
    found = operate(world, "GET", "status").json()
    assert found["aliases"] == {"candidate": version}
    assert found["slots"] == [{"slot": "a", "version": "policy-0001", "state": "live", "in_flight": 3}]
    assert found["queues"] == {
        "training": 1,
        "agreement": 0,
        "evaluation": 0,
        "demonstration": 1,
        "being_sampled": 0,
    }
    assert found["counts"] == {"interactions": 0, "prompts": 2, "labels": 0, "demonstrations": 0}
    assert (found["round"]["id"], found["round"]["stage"]) == (record.id, "ppo")


def test_policies_come_newest_first_with_the_gates_word(world: "World") -> None:
    base = register(world.ledger, "base")
    good = register(world.ledger, parent=base, figures=GOOD)
    found = operate(world, "GET", "policies").json()
    assert [each["version"] for each in found] == [good, base]
    assert [each["decision"]["promote"] for each in found] == [True, False]
    assert found[0]["figures"]["win_rate"]["n"] == 200
    assert found[0]["aliases"] == ["candidate"]
    chain = operate(world, "GET", f"policies/{good}/lineage").json()
    assert [entry["version"] for entry in chain] == [good, base]


def test_round_is_asked_for_once(world: "World") -> None:
    assert operate(world, "POST", "rounds", {"kind": "ppo"}).json() == {"requested": "ppo"}
    assert operate(world, "POST", "rounds", {"kind": "ppo"}).status_code == 409
    assert rounds.requested(world.ledger) == "ppo"
    assert operate(world, "GET", "status").json()["round_requested"] == "ppo"
    assert operate(world, "POST", "rounds", {"kind": "rlaif"}).status_code == 400
    assert operate(world, "GET", "audit").json()[0]["action"] == "ask for round"


def test_a_request_is_taken_back_and_a_running_round_cancelled(world: "World") -> None:
    rounds.request(world.ledger, "ppo")
    assert operate(world, "DELETE", "rounds/current").json() == {"cancelled": ""}
    assert rounds.requested(world.ledger) == ""
    assert operate(world, "DELETE", "rounds/current").status_code == 409
    rounds.begin(world.ledger, Round(id="rnd_7", created_at=utc_now(), state="running"))
    assert operate(world, "DELETE", "rounds/current").json() == {"cancelled": "rnd_7"}
    assert rounds.is_cancelled(world.ledger, "rnd_7")
    assert [entry["subject"] for entry in operate(world, "GET", "audit").json()] == ["rnd_7", "request"]


def test_swaps_come_newest_first(world: "World") -> None:
    for state in ("pending", "live"):
        event = SwapEvent(at=utc_now(), replica="r1", version="policy-0002", state=state)
        promotion.record_swap(world.ledger, event)
    assert [each["state"] for each in operate(world, "GET", "swaps").json()] == ["live", "pending"]


@pytest.mark.parametrize(
    "name",
    [
        *("../../x", "/abs", "a/b", ".", "..", "", "file:///x", "con", "p" * 300, "Policy-0001", "policy-٠٠٠١"),
        *("policy-", "policy-1", "policy-0001 ", "policy-0001\x00", "policy-0001\n"),
    ],
)
def test_hostile_version_is_refused_before_the_ledger_is_asked(world: "World", name: str) -> None:
    answer = operate(world, "POST", "promote", {"version": name})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "version")


def test_version_that_is_not_there_is_404(world: "World") -> None:
    assert operate(world, "POST", "promote", {"version": "policy-0042"}).status_code == 404
    assert operate(world, "POST", "promote", {"version": "candidate"}).status_code == 404
    assert operate(world, "GET", "policies/policy-0042/lineage").status_code == 404
    assert operate(world, "GET", "policies/..%2f..%2fetc/lineage").status_code in (400, 404)


@pytest.mark.parametrize("limit", ["0", "-1", "1000000000", "many"])
def test_page_size_out_of_bounds_is_refused(world: "World", limit: str) -> None:
    for path in ("audit", "swaps", "rounds"):
        assert operate(world, "GET", f"{path}?limit={limit}").status_code == 400
