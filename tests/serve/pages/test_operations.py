"""The operations page in a real Chromium against the real routes and a real Redis."""

from typing import TYPE_CHECKING, Any

import pytest

from feedback import canary, policies, promotion, rounds
from feedback.ids import new_id
from feedback.records import EvaluationReport, Kind, Policy, utc_now

if TYPE_CHECKING:
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
GOOD: dict[str, Any] = {
    "win_rate": {"mean": 0.6, "low": 0.53, "high": 0.67, "n": 200},
    "kl_nats": 8.0,
    "length_ratio": 1.1,
    "eos_rate": 0.97,
    "pretraining_loss_rise": 0.02,
}


def register(site: "Site", kind: Kind, figures: dict[str, Any] | None = None) -> str:
    version = policies.next_version(site.ledger)
    policy = Policy(version=version, created_at=utc_now(), kind=kind, path=version, sha256="0" * 64)
    policies.register(site.ledger, policy)
    if figures is not None:
        report = EvaluationReport(id=new_id("rep"), created_at=utc_now(), version=version, figures=figures)
        policies.add_report(site.ledger, report)
    return version


def test_candidate_is_promoted_and_rolled_back_with_two_clicks_each(site: "Site", watched: "Watched") -> None:
    first = register(site, "base")
    promotion.promote(site.ledger, first, "setup", "first")
    second = register(site, "ppo", GOOD)
    page = watched.open(site, "/operations", site.key("operator", "olga"))
    page.click(".alias.candidate button")
    assert "pass win_rate.low 0.53" in page.locator("#confirm-checks").inner_text()
    page.fill("#reason", "wins")
    page.click("#confirm-go")
    page.wait_for_selector(f".alias.live .version:text-is('{second}')")
    page.click(".alias.previous button")
    page.click("#confirm-go")
    page.wait_for_selector(f".alias.live .version:text-is('{first}')")
    moves = [(entry.actor, entry.action, entry.reason) for entry in promotion.audit(site.ledger)]
    assert moves[1:] == [("olga", "promote", "wins"), ("olga", "roll back", "")]
    page.wait_for_selector("#audit:has-text('roll back')")


def test_going_against_the_gate_takes_a_tick_and_a_reason(site: "Site", watched: "Watched") -> None:
    version = register(site, "ppo", {**GOOD, "kl_nats": 99.0})
    page = watched.open(site, "/operations", site.key("operator", "olga"))
    page.click(".alias.candidate button")
    go = page.locator("#confirm-go")
    assert go.is_disabled()
    page.check("#override")
    assert go.is_disabled()
    page.fill("#reason", "we need it")
    go.click()
    page.wait_for_selector(f".alias.live .version:text-is('{version}')")
    assert next(iter(promotion.audit(site.ledger))).reason == "override: we need it"


def test_a_canary_is_begun_changed_and_ended_from_the_page(site: "Site", watched: "Watched") -> None:
    first, second = register(site, "base"), register(site, "ppo", GOOD)
    promotion.promote(site.ledger, first, "setup", "first")
    page = watched.open(site, "/operations", site.key("operator", "olga"))
    page.wait_for_selector("#canary:has-text('None.')")
    page.click(f"#policies tr:has-text('{second}') button:text-is('Canary')")
    assert page.locator("#confirm-title").inner_text() == f"Canary {second}"
    page.fill("#share", "101")
    page.click("#confirm-go")
    assert canary.running(site.ledger) is None  # the field does not take it
    page.fill("#share", "10")
    page.fill("#reason", "a tenth")
    page.click("#confirm-go")
    page.wait_for_selector("#canary:has-text('10 % of the callers of live')")
    page.click("#canary button:text-is('Change share')")
    assert page.input_value("#share") == "10"
    page.fill("#share", "25")
    page.click("#confirm-go")
    page.wait_for_selector("#canary:has-text('25 % of the callers of live')")
    assert page.locator("#policies button:text-is('Canary')").count() == 0
    page.click("#canary button:text-is('End canary')")
    page.click("#confirm-go")
    page.wait_for_selector("#canary:has-text('None.')")
    moves = [(entry.actor, entry.action, entry.reason) for entry in promotion.audit(site.ledger)]
    assert moves[1:] == [("olga", "begin canary", "a tenth"), ("olga", "begin canary", ""), ("olga", "end canary", "")]
    page.wait_for_selector(f"#audit:has-text('{second} at 25 %')")


def test_page_follows_the_ledger_by_itself_and_asks_for_a_round(site: "Site", watched: "Watched") -> None:
    page = watched.open(site, "/operations", site.key("operator", "olga"))
    page.click("[data-round=ppo]")
    page.wait_for_selector("#round:has-text('ppo round asked for')")
    assert rounds.requested(site.ledger) == "ppo"
    page.click("#cancel-round")
    page.wait_for_selector("#cancel-round", state="hidden")
    assert rounds.requested(site.ledger) == ""
    version = register(site, "sft")
    page.wait_for_selector(f"#policies:has-text('{version}')")


@pytest.mark.parametrize("path", ["playground", "labeling", "operations"])
def test_page_fits_a_phone(site: "Site", watched: "Watched", path: str) -> None:
    promotion.promote(site.ledger, register(site, "ppo", GOOD), "setup", "first")
    register(site, "ppo", GOOD)
    site.comparison(["a very long word: " + "x" * 200, "short", "third", "fourth", "fifth", "sixth"])
    watched.page.set_viewport_size({"width": 360, "height": 740})
    role = {"playground": "client", "labeling": "labeler", "operations": "operator"}[path]
    page = watched.open(site, f"/{path}", site.key(role, "olga"))
    page.wait_for_selector({"playground": "#prompt", "labeling": ".card", "operations": "#policies tr"}[path])
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_hostile_names_and_reasons_are_shown_as_text(site: "Site", watched: "Watched") -> None:
    hostile = "<img src=x onerror='alert(1)'><script>alert(2)</script>"
    version = register(site, "base")
    promotion.promote(site.ledger, version, hostile, hostile)
    page = watched.open(site, "/operations", site.key("operator", "olga"))
    page.wait_for_selector("#audit li")
    assert hostile in (page.locator("#audit .why").text_content() or "")
    assert page.locator("#app img, #app script").count() == 0
    page.wait_for_timeout(200)
