"""The labeling page when the network, the tab or the lease goes away: nothing is lost, nothing counts twice."""

import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Error

from feedback import drafts, leases
from tests.serve.pages.desk import (
    TEXTS,
    open_desk,
    order_on_screen,
    press,
    ready,
    taken,
    texts_on_screen,
    wait_for_labels,
)

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]


def test_reload_keeps_the_item_its_lease_and_the_draft(site: "Site", watched: "Watched") -> None:
    for number in range(2):
        site.comparison(TEXTS, prompt=f"Question {number}")
    page = open_desk(site, watched)
    before = texts_on_screen(page)
    press(page, "5", "Tab", "1", "2", "3")
    page.reload()
    ready(page)
    page.wait_for_selector(".card.ranked")
    assert "Question 0" in page.locator("#messages").inner_text()
    assert texts_on_screen(page) == before
    press(page, "5", "Tab", "j", "j", "j", "4", "Control+Enter")
    [label] = wait_for_labels(site, 1)
    assert [group for [group] in label.ranking] == [TEXTS.index(text) for text in before]


def test_dead_network_and_reload_lose_nothing_and_nothing_counts_twice(site: "Site", watched: "Watched") -> None:
    for number in range(2):
        site.comparison(TEXTS, prompt=f"Question {number}")
    page = open_desk(site, watched)
    press(page, "Tab", "1", "2", "3", "3")  # nearly done: the next item is fetched ahead
    page.wait_for_function("() => JSON.parse(sessionStorage.getItem('whetstone-items')).length === 2")
    page.context.set_offline(True)
    press(page, "Control+Enter")
    page.wait_for_selector("#messages:has-text('Question 1')")
    page.wait_for_selector("#saved:has-text('1 not stored yet')")
    press(page, "Tab", "1", "1", "2", "2", "n")
    page.keyboard.type("written without a network")
    page.wait_for_function("() => Object.values({...localStorage}).some(kept => kept.includes('without a network'))")
    assert taken(site) == []
    # A page that is about to go may still get a request out: the browser's dead network ends with the page it is for.
    with pytest.raises(Error, match="ERR_INTERNET_DISCONNECTED"):
        page.reload()
    page.context.set_offline(False)
    page.goto(f"{site.url}/labeling")
    ready(page)
    assert "Question 1" in page.locator("#messages").inner_text()
    assert page.input_value("#note") == "written without a network"
    press(page, "Control+Enter")
    page.wait_for_selector("#empty:not([hidden])")
    first, second = wait_for_labels(site, 2)
    assert [len(group) for group in first.ranking] == [1, 1, 2]
    assert [len(group) for group in second.ranking] == [2, 2]
    assert second.note == "written without a network"
    page.wait_for_function("() => localStorage.getItem('whetstone-outbox-ada') === '[]'")
    assert len(taken(site)) == 2


def test_submission_whose_answer_is_lost_on_the_way_is_sent_again_and_counts_once(
    site: "Site", watched: "Watched"
) -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    submits = 0

    def break_the_line(route: "Route") -> None:
        nonlocal submits
        submits += 1
        if submits == 1:  # never arrives
            route.abort()
        elif submits == 2:  # arrives, and its answer does not come back
            assert route.fetch().status == 200
            route.abort()
        else:
            route.continue_()

    page.route("**/submit", break_the_line)
    press(page, "Tab", "1", "1", "2", "2", "Control+Enter")
    page.wait_for_selector("#saved:has-text('not stored yet')")
    page.wait_for_selector("#tally:text-is('1 today')")
    assert submits == 3
    assert len(taken(site)) == 1


def test_lost_lease_is_told_and_the_draft_waits_for_the_item(site: "Site", watched: "Watched") -> None:
    comparison = site.comparison(TEXTS)
    page = open_desk(site, watched)
    press(page, "Tab", "1", "2", "3", "4")
    later = time.time() + 10_000
    assert leases.expire(site.ledger, now=lambda: later) == 1
    press(page, "Control+Enter")
    page.wait_for_selector(".toast.bad")
    # the item is open again and comes back to the same person, with the draft
    page.locator(".card.ranked").nth(3).wait_for()
    ready(page)
    press(page, "Control+Enter")
    [label] = wait_for_labels(site, 1)
    assert label.comparison_id == comparison.id


def test_draft_is_on_the_server_for_another_browser(site: "Site", watched: "Watched") -> None:
    comparison = site.comparison(TEXTS)
    page = open_desk(site, watched)
    press(page, "Tab", "1", "2")
    with page.expect_response("**/draft"):
        press(page, "Control+s")
    assert drafts.get(site.ledger, "ada", comparison.id) is not None
    page.evaluate("localStorage.clear(); sessionStorage.clear()")
    assert leases.expire(site.ledger, now=lambda: time.time() + 10_000) == 1
    page.reload()
    ready(page)
    assert order_on_screen(page) == [["1st", "A"], ["2nd", "B"], ["open", "C", "D"]]


def test_item_fetched_ahead_goes_back_when_the_page_is_left(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS, prompt="Question 0")
    site.comparison(TEXTS, prompt="Question 1")
    page = open_desk(site, watched)
    press(page, "Tab", "1", "2", "3")
    page.wait_for_function("() => JSON.parse(sessionStorage.getItem('whetstone-items')).length === 2")
    assert leases.lease(site.ledger, "training", "bob") is None
    page.goto(f"{site.url}/privacy")
    deadline = time.monotonic() + 10
    while (found := leases.lease(site.ledger, "training", "bob")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found is not None
