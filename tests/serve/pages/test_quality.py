"""The page on label quality in a real Chromium: figures with whiskers, a pause and its end, names as inert text."""

from typing import TYPE_CHECKING

import msgspec
import pytest

from feedback import gold, labelers, promotion
from feedback.quality import figures, report
from feedback.quality.gathering import Window
from feedback.records import GoldCheck, utc_now
from tests.feedback.quality.team import window
from tests.serve.pages.accessible import violations

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
HOSTILE = "<img src=x onerror=alert(1)>"
PEOPLE = {**{f"lee-{number}": "honest" for number in range(7)}, "rex": "reverse", "fay": "first", HOSTILE: "honest"}


def reported(site: "Site") -> None:
    """Store the audit's report on a team of which two do not judge the texts."""
    given = []
    for number, each in enumerate(window(90, PEOPLE).given):
        group = "held-out" if each.label.labeler in ("lee-5", "lee-6") else "training"
        flags = {"hallucination": [3]} if number % 3 else {}
        label = msgspec.structs.replace(each.label, labeler_group=group, flags=flags)
        given.append(each._replace(label=label))
    figures.store(site.ledger, report.build(Window(given, "1-0"), [], utc_now()))


def opened(site: "Site", watched: "Watched") -> "Page":
    page = watched.page
    page.goto(f"{site.url}/quality")
    page.fill("#key", site.key("operator", "olga"))
    page.click("text=Open")
    page.wait_for_selector("#tiles dd")
    return page


def test_figures_have_whiskers_and_people_are_not_ranked(site: "Site", inspected: "Watched") -> None:
    reported(site)
    comparison = site.comparison(["a", "b", "c"])
    gold.add(
        site.ledger,
        GoldCheck(comparison_id=comparison.id, created_at=utc_now(), pairs=[(0, 2)], source="operator"),
    )
    page = opened(site, inspected)
    assert page.locator("#groups h3").count() == 3
    assert page.locator("#groups .figure").count() == 15
    assert page.locator("#groups .figure .whisker").count() == 45
    assert page.locator("#bias .figure").count() == 5
    names = page.locator("#people tr[data-labeler]").evaluate_all("rows => rows.map(row => row.dataset.labeler)")
    assert names == sorted(PEOPLE)
    assert "odds" in page.inner_text("#people tr[data-labeler=rex] + tr.why")
    assert "place on the page" in page.inner_text("#people tr[data-labeler=fay] + tr.why")
    assert "hallucination" in page.inner_text("#flags")
    assert "1 > 3" in page.inner_text("#gold")
    assert "training" in page.inner_text("#queues")
    assert violations(page) == []


def test_names_are_text(site: "Site", watched: "Watched") -> None:
    reported(site)
    page = opened(site, watched)
    assert page.locator("#people img").count() == 0
    assert HOSTILE in page.inner_text("#people")


def test_a_pause_and_its_end(site: "Site", watched: "Watched") -> None:
    reported(site)
    page = opened(site, watched)
    page.click("[aria-label='pause rex']")
    page.fill("#reason", "looks reversed")
    page.check("input[value=second]")
    page.click("#move-go")
    page.wait_for_selector("[aria-label='resume rex']")
    found = labelers.standing(site.ledger, "rex")
    assert (found.state, found.reason) == ("paused", "looks reversed")
    assert found.quarantined_from is not None
    assert "looks reversed" in page.inner_text("#people tr[data-labeler=rex] + tr.why")
    page.click("[aria-label='resume rex']")
    page.click("#move-go")
    page.wait_for_selector("[aria-label='pause rex']")
    assert labelers.standing(site.ledger, "rex").state == "active"
    assert labelers.quarantined(site.ledger) == {}
    assert [entry.action for entry in promotion.audit(site.ledger)][-2:] == ["pause labeler", "resume labeler"]


def test_a_pause_needs_a_reason_and_can_be_thought_over(site: "Site", watched: "Watched") -> None:
    reported(site)
    page = opened(site, watched)
    page.click("[aria-label='pause rex']")
    page.click("#move-go")
    assert page.locator("#move").evaluate("dialog => dialog.open")
    page.keyboard.press("Escape")
    assert not page.locator("#move").evaluate("dialog => dialog.open")
    assert labelers.standings(site.ledger) == {}


def test_without_a_report_the_page_says_so(site: "Site", watched: "Watched") -> None:
    page = watched.page
    page.goto(f"{site.url}/quality")
    page.fill("#key", site.key("operator", "olga"))
    page.click("text=Open")
    page.wait_for_selector("#nothing:not([hidden])")
    assert page.locator("#tiles dd").count() == 0
