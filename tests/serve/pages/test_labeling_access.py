"""The labeling page for everybody: no violation that axe-core knows, light and dark; an order that can be heard."""

from typing import TYPE_CHECKING, Literal

import pytest

from tests.serve.pages.accessible import violations
from tests.serve.pages.desk import TEXTS, WIDE, press, ready

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
MENU = ("queues-open", "answers-open", "statistics-open", "keys-open")
KEYS = (("g", "guidelines"), ("s", "skip"), ("Shift+Digit1", "report"), ("h", "mark"), ("m", "write"))


def found_on(page: "Page", where: str) -> list[str]:
    """Return what axe-core finds, and where."""
    return [f"{where}: {each}" for each in violations(page)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_anywhere(site: "Site", inspected: "Watched", scheme: Literal["light", "dark"]) -> None:
    site.comparison([*TEXTS, "| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```"])
    page = inspected.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size(WIDE)
    page.goto(f"{site.url}/labeling")
    page.wait_for_selector("#key:focus")
    found = found_on(page, "sign-in")
    inspected.open(site, "/labeling", site.key("labeler", "ada"))
    ready(page)
    found += found_on(page, "item")
    press(page, "7", "q", "j", "6", "j", "5", "j", "4", "j", "2")
    found += found_on(page, "rated")
    press(page, "c", "d")
    found += found_on(page, "ordered pair")
    press(page, "d")
    for key, name in KEYS:
        press(page, key)
        page.wait_for_selector(f"#{name}-dialog[open]")
        found += found_on(page, name)
        press(page, "Escape")
    for id in MENU:
        page.click("#menu summary")
        page.click(f"#{id}")
        page.wait_for_selector("dialog[open]")
        found += found_on(page, id)
        press(page, "Escape")
    press(page, "0", "Control+Enter")
    page.wait_for_selector("#empty:not([hidden])")
    found += found_on(page, "empty")
    page.click("#practise")
    ready(page)
    found += found_on(page, "practice")
    press(page, "0", "Control+Enter")
    page.wait_for_selector("#practice-dialog[open]")
    found += found_on(page, "practice explained")
    page.set_viewport_size({"width": 420, "height": 860})
    press(page, "Enter")
    page.wait_for_selector("#banner-text:has-text('Practice 2')")
    found += found_on(page, "narrow")
    assert found == []


def test_the_order_is_a_list_and_each_change_is_said(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = watched.page
    page.set_viewport_size(WIDE)
    watched.open(site, "/labeling", site.key("labeler", "ada"))
    ready(page)
    press(page, "Tab", "1")
    assert page.locator("#announce").inner_text() == "A is now first"
    press(page, "2", "2")
    assert page.locator("#announce").inner_text() == "C is now second, tied with B"
    order = page.get_by_role("list", name="Order, best first")
    assert order.get_by_role("listitem").count() == 3
    assert order.get_by_role("button", name="C, second, tied with B").count() == 1
    assert page.evaluate("document.activeElement.className") == "chip-letter", "the keyboard stays on the order"
