"""Label quality over HTTP: operators see and decide, labelers see ranges of their own and nothing more."""

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from feedback import checks, comparisons, gold, keys, labelers, promotion
from feedback.checks import Past
from feedback.client import encode
from feedback.ids import made_at_s
from feedback.quality import figures, report
from feedback.quality.figures import Estimate, Own, Report
from feedback.quality.gathering import Facts, Given, Window, gather
from feedback.records import GoldCheck, utc_now
from serve.routes.quality import span
from tests.builders import make_comparison, make_label

if TYPE_CHECKING:
    from tests.serve.routes.conftest import World

KNOWN = Estimate(0.8, 0.71234, 0.88, 40)


def reported(world: "World", **changes: Any) -> Report:
    """Store a report on one label by ada."""
    label = make_label(make_comparison(), labeler="ada")
    made = report.build(Window([Given(label, Facts([1] * 4, "training", "cmp_1", ""))], "1-0"), [], utc_now())
    people = {name: msgspec.structs.replace(person, **changes) for name, person in made.people.items()}
    found = msgspec.structs.replace(made, people=people)
    figures.store(world.ledger, found)
    return found


def post(world: "World", path: str, body: dict[str, Any], role: str = "operator") -> Any:
    return world.call("POST", f"/v1/operations/{path}", body, role=role, owner="olga")


def test_own_work_is_counted(world: "World") -> None:
    def me(owner: str = "ada") -> dict[str, Any]:
        found: dict[str, Any] = world.call("GET", "/v1/labeling/me", role="labeler", owner=owner).json()
        return found

    assert me() == {
        "labeler": "ada", "group": "", "labels": 0, "labels_today": 0, "demonstrations": 0, "demonstrations_today": 0,
        "median_s": None, "agreement": None, "self_agreement": None, "gold": None,
    }  # fmt: skip
    for count in (1, 2):
        label = make_label(world.comparison(k=2), labeler="ada", created_at=utc_now())
        world.ledger.redis.xadd(keys.LABELS, {"record": encode(label)})
        assert (me()["labels"], me()["labels_today"]) == (count, count)
    assert me("bob")["labels"] == 0


def test_own_figures_are_ranges_and_name_nobody_else(world: "World") -> None:
    reported(world, own=Own(agreement=KNOWN, gold=Estimate(1.0, 0.8, 1.0, 9), self_agreement=Estimate()), median_s=42.0)
    found = world.call("GET", "/v1/labeling/me", role="labeler").json()
    assert found["agreement"] == {"low": 0.71, "high": 0.88}
    assert (found["gold"], found["self_agreement"], found["median_s"]) == (None, None, 42.0)
    assert not {"flags", "evidence", "first_wins", "people"} & set(found)
    assert world.call("GET", "/v1/labeling/me", role="labeler", owner="bob").json()["agreement"] is None
    assert span(Estimate()) is None


def test_an_operator_sees_the_report_the_standings_and_the_queues(world: "World") -> None:
    assert world.call("GET", "/v1/operations/quality", role="operator").json()["report"] is None
    made = reported(world)
    labelers.pause(world.ledger, "ada", "audit", "why")
    world.comparison(k=2)
    found = world.call("GET", "/v1/operations/quality", role="operator").json()
    assert found["report"] == msgspec.to_builtins(made)
    assert found["standings"]["ada"]["state"] == "paused"
    training = next(queue for queue in found["queues"] if queue["name"] == "training")
    assert training["waiting"] == 1
    assert training["oldest_s"] == pytest.approx(utc_now().timestamp(), abs=60)


def test_pause_and_resume_are_in_the_audit(world: "World") -> None:
    paused = post(world, "labelers/pause", {"labeler": "ada", "reason": "look at it", "quarantine_hours": 24}).json()
    assert (paused["state"], paused["reason"]) == ("paused", "look at it")
    (begin, end) = labelers.quarantined(world.ledger)["ada"][0]
    assert end is None
    assert begin < utc_now() - timedelta(hours=23)
    assert post(world, "labelers/resume", {"labeler": "ada", "lift": False}).json()["state"] == "active"
    assert post(world, "labelers/resume", {"labeler": "ada", "lift": False}).status_code == 409
    assert post(world, "labelers/lift", {"labeler": "ada"}).json()["lifted"] == 1
    assert labelers.quarantined(world.ledger) == {}
    actions = [(entry.actor, entry.action) for entry in promotion.audit(world.ledger)]
    assert actions == [("olga", "pause labeler"), ("olga", "resume labeler"), ("olga", "lift quarantine")]


@pytest.mark.parametrize(
    "body",
    [{"labeler": "ada"}, {"labeler": "", "reason": "x"}, {"labeler": "ada", "reason": "x", "quarantine_hours": -1}],
)
def test_a_pause_needs_a_labeler_and_a_reason(world: "World", body: dict[str, Any]) -> None:
    assert post(world, "labelers/pause", body).status_code == 400
    assert labelers.standings(world.ledger) == {}


def test_gold_is_added_listed_and_removed(world: "World") -> None:
    comparison = world.comparison(k=3)
    body = {"comparison_id": comparison.id, "pairs": [[0, 2], [1, 2]]}
    assert post(world, "gold", body).json()["source"] == "operator"
    (listed,) = world.call("GET", "/v1/operations/gold", role="operator").json()
    assert listed["pairs"] == [[0, 2], [1, 2]]
    gone = world.call("DELETE", f"/v1/operations/gold/{comparison.id}", role="operator")
    assert gone.status_code == 204
    assert gold.all_checks(world.ledger) == []
    assert world.call("DELETE", f"/v1/operations/gold/{comparison.id}", role="operator").status_code == 404


@pytest.mark.parametrize(("pairs", "status"), [([[0, 1], [1, 0]], 400), ([[0, 9]], 400), ([], 400), ([[0, 7]], 400)])
def test_gold_that_cannot_be_is_refused(world: "World", pairs: list[list[int]], status: int) -> None:
    comparison = world.comparison(k=2)
    assert post(world, "gold", {"comparison_id": comparison.id, "pairs": pairs}).status_code == status
    assert post(world, "gold", {"comparison_id": "cmp_none", "pairs": [[0, 1]]}).status_code == 404


def test_labelers_may_not_look(world: "World") -> None:
    for path in ("quality", "gold"):
        assert world.call("GET", f"/v1/operations/{path}", role="labeler").status_code == 403


def test_the_metrics_follow_the_report(world: "World") -> None:
    reported(world, gold=Estimate(0.9, 0.7, 1.0, 20), flags=["odd"])
    labelers.pause(world.ledger, "kim", "audit", "why")
    text = world.call("GET", "/metrics", role="operator").text
    assert 'whetstone_labelers{state="paused"} 1.0' in text
    assert 'whetstone_labelers{state="flagged"} 1.0' in text
    assert "whetstone_gold_passed_ratio 0.9" in text


def test_a_hidden_check_looks_like_any_item_and_is_judged(world: "World", monkeypatch: pytest.MonkeyPatch) -> None:
    known = world.comparison(k=3)
    world.ledger.redis.delete(keys.queue("training"))  # it was answered by others and waits no more
    gold.add(world.ledger, GoldCheck(comparison_id=known.id, created_at=utc_now(), pairs=[(0, 2)], source="operator"))
    for _ in range(3):
        world.comparison(k=3)
    prepared = checks.prepare(world.ledger, "ada", Past([], [], {""}), gold.all_checks(world.ledger), (5, 0))
    assert prepared == 1

    def following(draw: float) -> dict[str, Any]:
        monkeypatch.setattr("serve.routes.labeling.random.random", lambda: draw)
        found: dict[str, Any] = world.call("POST", "/v1/labeling/next", {"queue": "training"}, role="labeler").json()
        return found

    ordinary, check = following(0.99), following(0.0)
    assert comparisons.get(world.ledger, check["item_id"]).check_of == known.id
    assert set(check) == set(ordinary)
    assert [set(each) for each in check["completions"]] == [set(each) for each in ordinary["completions"]]
    assert (check["queue"], check["kind"], check["rules"]) == (ordinary["queue"], ordinary["kind"], ordinary["rules"])
    assert len(check["item_id"]) == len(ordinary["item_id"])
    assert made_at_s(check["item_id"]) == pytest.approx(made_at_s(ordinary["item_id"]), abs=5)
    assert known.id not in str(check)

    body = {"token": check["token"], "submission_id": uuid.uuid4().hex, "ranking": [[2], [1], [0]]}
    assert world.call("POST", f"/v1/labeling/items/{check['item_id']}/submit", body, role="labeler").status_code == 200
    window = gather(world.ledger, 10)
    assert report.build(window, gold.all_checks(world.ledger), utc_now()).people["ada"].gold.value == 0
    assert [each.label.purpose for each in window.given] == ["gold"]
