"""How fast the labeling page is: bars of the issue, measured in a real Chromium by the page's own clock."""

import statistics
from typing import TYPE_CHECKING

import pytest

from tests.serve.pages.desk import TEXTS, WIDE, open_desk, press, ready, wait_for_labels

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
NEXT_ITEM_MS = 200
KEY_TO_PAINT_MS = 50
LONG_TASK_MS = 100
TRIES = 5
"""Measurements on a machine that does other things meanwhile: the best of so many tries counts."""

WATCH = """
window.paints = []; window.longTasks = []; window.items = [];
new PerformanceObserver(list => list.getEntries().forEach(each => longTasks.push(each.duration)))
  .observe({ type: "longtask" });
const painted = then => requestAnimationFrame(() => requestAnimationFrame(then));
addEventListener("keydown", event => {
  const began = event.timeStamp;
  performance.mark("key");
  const before = document.querySelector("#messages")?.textContent;
  painted(() => paints.push(performance.now() - began));
  if (!event.ctrlKey || event.key !== "Enter") return;
  const seen = new MutationObserver(() => {
    if (document.querySelector("#messages").textContent === before) return;
    seen.disconnect();
    painted(() => items.push(performance.now() - began));
  });
  seen.observe(document.querySelector("#messages"), { childList: true, subtree: true });
}, true);
"""


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def shown(name: str, values: list[float]) -> str:
    return f"{name}: median {statistics.median(values):.0f} ms, p95 {p95(values):.0f} ms, n = {len(values)}"


def test_the_next_item_is_on_screen_at_once(site: "Site", watched: "Watched") -> None:
    for number in range(21 * TRIES):
        site.comparison(TEXTS, prompt=f"Question {number}")
    watched.page.add_init_script(WATCH)
    page = open_desk(site, watched)
    tries = []
    for attempt in range(TRIES):
        page.evaluate("items.length = 0")
        for number in range(20):
            page.wait_for_selector(f"#messages:has-text('Question {attempt * 20 + number}')")
            ready(page)
            press(page, "Tab", "1", "2", "3", "3")
            page.wait_for_function("() => JSON.parse(sessionStorage.getItem('whetstone-items')).length === 2")
            press(page, "Control+Enter")
            page.wait_for_function("count => items.length === count", arg=number + 1)
        tries.append(page.evaluate("items"))
        if p95(tries[-1]) <= NEXT_ITEM_MS:
            break
    best = min(tries, key=p95)
    print(shown("next item on screen", best))
    assert statistics.median(best) <= NEXT_ITEM_MS
    assert p95(best) <= NEXT_ITEM_MS
    wait_for_labels(site, 20 * len(tries))


def keys_on_nine(page: "Page") -> tuple[list[float], list[float]]:
    """Press keys of every kind; return key to paint, and long tasks, all in milliseconds."""
    page.evaluate("paints.length = longTasks.length = 0")
    keys = [*"7q", "j", *"6", "j", *"5w", "j", *"4", "j", *"3", "j", *"2", "j", *"1", "j", *"2", "j", *"3"]
    keys += ["c", "z", "Tab", *"123456789", "=", "k", "k", "=", "z", "d", "k", "d", "v", "v", "l", "l", "x", "x"]
    for count, key in enumerate(keys, 1):
        press(page, key)
        page.wait_for_function("count => paints.length >= count", arg=count)
    press(page, *["z"] * 40)
    page.locator(".card").first.focus()
    press(page, *["k"] * 9)
    return page.evaluate("paints"), page.evaluate("longTasks")


def test_nine_answers_of_a_thousand_words_are_smooth(site: "Site", watched: "Watched") -> None:
    words = "The quick **brown** fox jumps over the `lazy` dog and then, once more, it sleeps. "
    answer = "\n\n".join([f"## Part {part}\n\n" + words * 6 + "\n- one\n- two\n" for part in range(11)])
    assert len(answer.split()) >= 1000
    site.comparison([f"{answer} {number}" for number in range(9)])
    watched.page.add_init_script(WATCH)
    watched.page.set_viewport_size(WIDE)
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector(".card[aria-current=true]")
    page.wait_for_timeout(500)
    tries = []
    for _ in range(TRIES):
        paints, long_tasks = keys_on_nine(page)
        tries.append((p95(paints), paints, long_tasks))
        if p95(paints) <= KEY_TO_PAINT_MS and max(long_tasks, default=0) <= LONG_TASK_MS:
            break
    best, paints, long_tasks = min(tries)
    print(shown("key to paint, K = 9 of 1,000 words", paints), "long tasks:", [round(each) for each in long_tasks])
    assert best <= KEY_TO_PAINT_MS
    assert max(long_tasks, default=0) <= LONG_TASK_MS
