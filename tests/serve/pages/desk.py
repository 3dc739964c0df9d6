"""What tests of the labeling page do and look at: opening it, pressing keys, reading what labelers' answers became."""

import time
from typing import TYPE_CHECKING

from feedback import labels, queues
from feedback.records import Label

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.pages.conftest import Site, Watched

TEXTS = ["Bob lives in York.", "I do not know.", "Bob lives in Paris.", "Go away."]
WIDE = {"width": 1400, "height": 900}
FOCUSED = "[...document.querySelectorAll('.card')].findIndex(card => card.getAttribute('aria-current') === 'true')"
ORDER = """[...document.querySelectorAll('#order li')].map(row =>
    [...row.querySelectorAll('.place, .chip-letter')].map(part => part.textContent))"""


def open_desk(site: "Site", watched: "Watched", labeler: str = "ada") -> "Page":
    """Sign in by keyboard and wait for an item; items come in the order in which they were made."""
    queues.put(site.ledger, "training", random_percent=0, disagreement_percent=0)
    watched.page.set_viewport_size(WIDE)
    page = watched.open(site, "/labeling", site.key("labeler", labeler))
    page.wait_for_selector("#work:not([hidden])")
    ready(page)
    return page


def ready(page: "Page") -> None:
    """Wait until an item is on the desk and all of what is on screen counts as seen."""
    page.wait_for_selector(".card[aria-current=true]")
    page.wait_for_function("() => ![...document.querySelectorAll('.unseen')].some(chip => !chip.hidden)")


def press(page: "Page", *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def texts_on_screen(page: "Page") -> list[str]:
    """Return the answers' texts as shown, in the order in which they are shown."""
    found: list[str] = page.eval_on_selector_all(".card .text", "nodes => nodes.map(node => node.textContent.trim())")
    return found


def order_on_screen(page: "Page") -> list[list[str]]:
    """Return the rows of the order: the place's name, then the letters."""
    found: list[list[str]] = page.evaluate(ORDER)
    return found


def taken(site: "Site") -> list[Label]:
    return [label for _, label in labels.read(site.ledger)]


def wait_for_labels(site: "Site", count: int) -> list[Label]:
    deadline = time.monotonic() + 15
    while labels.count(site.ledger) < count:
        assert time.monotonic() < deadline, f"{labels.count(site.ledger)} of {count} labels"
        time.sleep(0.02)
    return taken(site)


def ranks(page: "Page", place: dict[str, str]) -> list[str]:
    """Return the digits that rank the answers on screen, in their order. ``place``: text -> digit."""
    return [place[text] for text in texts_on_screen(page)]
