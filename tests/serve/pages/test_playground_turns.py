"""Turns of the Playground in a real Chromium: branches, siblings, hostile text, keys, reading ways."""

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.serve.pages.upstream import Upstream, say, start

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
HOSTILE = [
    "<img src=x onerror=alert(1)><script>alert(1)</script>",
    "[x](javascript:alert(1)) [y](data:text/html,<script>alert(1)</script>) ![z](https://evil.example/pixel.png)",
    "**<b onclick=alert(1)>bold</b>** `</code><script>` \n\n```html\n<script>alert(1)</script>\n```",
    "{{constructor.constructor('alert(1)')()}} </textarea><svg/onload=alert(1)>",
]


def run(page: "Page", module: str, body: str, argument: Any = None) -> Any:
    """Run a function body with a module of the page as ``m`` and an argument as ``a``."""
    path = module if "/" in module else f"playground/{module}"
    return page.evaluate(f"async a => {{ const m = await import('/static/{path}.js'); {body} }}", argument)


def test_tree_of_turns_loses_nothing(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    found = run(
        page,
        "tree",
        """
        const tree = m.newTree();
        const q = m.add(tree, null, { role: "user", content: "q" });
        const a1 = m.add(tree, q.id, { role: "assistant", content: "a1" });
        const q2 = m.add(tree, a1.id, { role: "user", content: "q2" });
        const a2 = m.add(tree, q.id, { role: "assistant", content: "a2", fault: "broke" });
        const words = () => m.path(tree).map((node) => node.content).join(" ");
        const seen = [words()];
        m.step(tree, a2.id, -1); seen.push(words());
        m.step(tree, a1.id, -1); seen.push(words());
        m.add(tree, null, { role: "user", content: "r" }); seen.push(words());
        m.choose(tree, q2.id); seen.push(words());
        const copy = JSON.parse(JSON.stringify(tree));
        return {
            seen, siblings: m.siblings(tree, a1.id).length, count: Object.keys(tree.nodes).length,
            asked: m.messages(tree, q2.id).map((each) => each.content), failed: m.messages(tree, a2.id).length,
            last: m.last(tree, "assistant").content, copied: m.path(copy).length, unlogged: m.hasUnlogged(tree),
        };
        """,
    )
    assert found == {
        "seen": ["q a2", "q a1 q2", "q a1 q2", "r", "q a1 q2"],
        "siblings": 2,
        "count": 5,
        "asked": ["q", "a1", "q2"],
        "failed": 1,
        "last": "a1",
        "copied": 3,
        "unlogged": False,
    }


def test_regenerated_answers_are_siblings_and_rating_one_leaves_the_other(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "First.")
    page = start(site, watched)
    say(page, "Fruit?")
    page.click(".turn .up")
    page.wait_for_selector(".up[aria-pressed=true]")
    upstream.answer = "Second."
    page.focus("#prompt")
    page.keyboard.press("Control+Shift+R")
    page.wait_for_selector(".turn.assistant .text:has-text('Second.')")
    page.wait_for_selector(".siblings:has-text('2 / 2')")
    assert page.get_attribute(".turn .up", "aria-pressed") == "false"
    page.click(".turn.assistant .back")
    page.wait_for_selector(".turn.assistant .text:has-text('First.')")
    assert page.get_attribute(".turn .up", "aria-pressed") == "true"
    assert [len(asked["messages"]) for asked in upstream.asked] == [1, 1]


def test_edited_turn_begins_a_branch_and_the_old_one_stays(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Yes.")
    page = start(site, watched)
    say(page, "One")
    say(page, "Two", 2)
    page.hover(".turn.user >> nth=0")
    page.click(".edit-turn >> nth=0")
    page.fill(".editor textarea", "Changed")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".turn.user .siblings:has-text('2 / 2')")
    page.wait_for_selector(".rate:not([hidden])")
    assert [message["content"] for message in upstream.asked[-1]["messages"]] == ["Changed"]
    assert page.locator(".turn").count() == 2
    page.click(".turn.user .back")
    page.wait_for_selector(".turn >> nth=3")
    assert page.locator(".turn.user .text").all_inner_texts() == ["One", "Two"]


def test_changed_answer_is_what_the_next_turn_goes_on_from(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Yes.")
    page = start(site, watched)
    say(page, "One")
    page.click(".menu summary")
    page.click(".branch")
    page.fill(".editor textarea", "No.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".figures:has-text('written by you')")
    assert not page.locator(".turn .up").is_visible()
    say(page, "Two", 2)
    assert [message["content"] for message in upstream.asked[-1]["messages"]] == ["One", "No.", "Two"]


def test_arrow_up_edits_the_last_prompt(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    say(page, "One")
    page.focus("#prompt")
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(".editor textarea:focus")
    assert page.input_value(".editor textarea") == "One"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text(site: "Site", watched: "Watched", hostile: str) -> None:
    Upstream(site, hostile)
    page = start(site, watched)
    say(page, hostile)
    assert page.locator(".turn.user .text").text_content() == hostile
    made = page.locator(".turn .text *").evaluate_all("nodes => nodes.map(node => node.tagName)")
    assert not {"IMG", "SCRIPT", "SVG", "B", "IFRAME"} & set(made)
    links = page.locator(".turn .text a").evaluate_all("nodes => nodes.map(node => node.protocol)")
    assert set(links) <= {"https:"}
    page.click("[data-way=raw]")
    assert page.locator(".turn.assistant .text").text_content() == hostile
    assert page.locator(".turn.assistant .text *").count() == 0
    page.wait_for_timeout(100)


def test_markdown_becomes_inert_elements(site: "Site", watched: "Watched") -> None:
    text = (
        "# Moon\n\nA **big** *round* `ball`, see [here](https://example.org/a_b_c) or https://example.org/x.\n"
        "snake_case_name stays, 2 * 3 * 4 too\n\n- one\n- two\n\n3. three\n4. four\n\n"
        "> said\n\n---\n\n```js\nx < 1\n```\n\n| day | rain |\n|---|--:|\n| 1 | **no** |\n\n![x](data:,x)"
    )
    Upstream(site, text)
    page = start(site, watched)
    say(page, "Moon?")
    root = page.locator(".turn.assistant .text")
    tags = root.locator(":scope > *").evaluate_all("nodes => nodes.map(node => node.tagName)")
    assert tags == ["H3", "P", "UL", "OL", "BLOCKQUOTE", "HR", "DIV", "DIV", "P"]
    assert root.locator("strong").all_inner_texts() == ["big", "no"]
    assert root.locator("th, td").all_inner_texts() == ["day", "rain", "1", "no"]
    assert "![x](data:,x)" in root.inner_text()
    assert root.locator("em").all_inner_texts() == ["round"]
    assert "snake_case_name stays, 2 * 3 * 4 too" in root.inner_text()
    assert root.locator("a").evaluate_all("nodes => nodes.map(node => [node.href, node.rel])") == [
        ["https://example.org/a_b_c", "noopener noreferrer nofollow"],
        ["https://example.org/x", "noopener noreferrer nofollow"],
    ]
    assert root.locator("pre").inner_text() == "x < 1"
    assert root.locator("ol").get_attribute("start") == "3"


def test_markdown_takes_linear_time(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    slow = {}
    units = ("**a ", "[", "[](", "*", "_a ", "`", "https://.", "> ", "- ", "# ", "https://a.b) ", "[a](b ", "`` ")
    for unit in (*units, "|--", "|\n|--|\n"):
        began_s = time.monotonic()
        run(page, "shared/markdown", "m.render(a)", unit * (100_000 // len(unit)))
        slow[unit] = time.monotonic() - began_s
    assert {unit: round(seconds, 1) for unit, seconds in slow.items() if seconds > 5} == {}


def test_characters_that_hide_or_reorder_others_are_spelled_out(site: "Site", watched: "Watched") -> None:
    Upstream(site, "safe\u202egnp.exe a\u200bb")
    page = start(site, watched)
    say(page, "Name?")
    assert page.locator(".turn.assistant .text").inner_text() == "safe⟦U+202E⟧gnp.exe a⟦U+200B⟧b"


def test_right_to_left_text_runs_right_to_left(site: "Site", watched: "Watched") -> None:
    Upstream(site, "שלום עולם")
    page = start(site, watched)
    say(page, "مرحبا")
    for selector in (".turn.user .text", ".turn.assistant .text p"):
        direction = page.locator(selector).evaluate("node => getComputedStyle(node).direction")
        assert direction == "rtl", selector


def test_every_command_is_in_the_palette(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = start(site, watched)
    page.keyboard.press("Control+k")
    page.wait_for_selector("#palette[open]")
    assert page.locator("#palette li").count() >= 15
    page.keyboard.type("blind")
    assert page.locator("#palette li").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_selector("#mode-battle[aria-pressed=true]")
