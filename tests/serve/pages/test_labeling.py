"""The labeling page in a real Chromium against the real routes and a real Redis: answering items."""

from typing import TYPE_CHECKING

import pytest

from feedback import demonstrations, leases
from tests.serve.pages.desk import (
    FOCUSED,
    TEXTS,
    open_desk,
    order_on_screen,
    press,
    ranks,
    ready,
    taken,
    texts_on_screen,
    wait_for_labels,
)

if TYPE_CHECKING:
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]

NO_MOUSE = """
window.mouse = 0;
for (const name of ["pointerdown", "mousedown", "mousemove", "touchstart", "wheel"])
  addEventListener(name, () => (window.mouse += 1), true);
"""


def test_twenty_items_are_answered_by_keyboard_alone(site: "Site", watched: "Watched") -> None:
    for number in range(20):
        site.comparison(TEXTS, prompt=f"Question {number}")
    watched.page.add_init_script(NO_MOUSE)
    page = open_desk(site, watched)
    # York first, then the honest one, Paris and rudeness tied last
    place, rating = dict(zip(TEXTS, "1233", strict=True)), dict(zip(TEXTS, "7411", strict=True))
    for number in range(20):
        page.wait_for_selector(f"#messages:has-text('Question {number}')")
        ready(page)
        assert sorted(texts_on_screen(page)) == sorted(TEXTS)
        if number % 2:  # ordered directly, in the second step
            press(page, "Tab", *ranks(page, place))
        else:  # rated, and the proposed order taken
            for digit in ranks(page, rating):
                press(page, digit, "j")
            press(page, "c")
        press(page, "Control+Enter")
    page.wait_for_selector("#empty:not([hidden])")
    found = wait_for_labels(site, 20)
    assert [[sorted(group) for group in label.ranking] for label in found] == [[[0], [1], [2, 3]]] * 20
    assert [label.quality for label in found] == [[7, 4, 1, 1], []] * 10
    assert [label.proposal for label in found] == ["accepted", ""] * 10
    assert {label.input for label in found} == {"keys"}
    assert {(label.labeler, label.labeler_group, label.outcome) for label in found} == {("ada", "training", "ranked")}
    assert len({label.id for label in found}) == len({label.comparison_id for label in found}) == 20
    assert page.evaluate("window.mouse") == 0
    page.wait_for_selector("#tally:text-is('20 today')")


def test_keys_rate_flag_order_undo_and_note(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    press(page, "j", "ArrowDown", "k")
    assert page.evaluate(FOCUSED) == 1
    press(page, "k", "k", "k")
    assert page.evaluate(FOCUSED) == 0
    for digit in "7654":
        press(page, digit, "j")
    press(page, "e", "q", "q")
    assert page.locator("#announce").inner_text().endswith("taken back")
    assert order_on_screen(page) == [["1st", "A"], ["2nd", "B"], ["3rd", "C"], ["4th", "D"]], "proposed"
    press(page, "Tab", "c", "=")
    assert page.locator("#announce").inner_text() == "D is now third, tied with C"
    assert order_on_screen(page) == [["1st", "A"], ["2nd", "B"], ["3rd", "C", "D"]]
    press(page, "z", "z", "c", "k", "k", "1")
    assert order_on_screen(page) == [["1st", "A", "B"], ["2nd", "C"], ["3rd", "D"]]
    press(page, "n")
    page.keyboard.type("D invents j k 1 2 3")
    press(page, "Escape")
    shown = texts_on_screen(page)
    press(page, "Control+Enter")
    [label] = wait_for_labels(site, 1)
    canonical = [TEXTS.index(text) for text in shown]
    assert [sorted(group) for group in label.ranking] == [sorted(canonical[:2]), [canonical[2]], [canonical[3]]]
    assert [label.quality[index] for index in canonical] == [7, 6, 5, 4]
    assert (label.flags, label.proposal) == ({"hallucination": [canonical[3]]}, "changed")
    assert label.note == "D invents j k 1 2 3"
    assert label.display_order == canonical
    assert (label.guideline_version, label.flag_set_version) == ("1", "1")
    assert 0 < label.active_s < 60
    assert len(label.read_s) == 4
    assert all(0 < seconds <= label.total_s for seconds in label.read_s)


def test_what_is_odd_is_asked_about_once(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    press(page, "7", "j", "2", "j", "2", "j", "2", "Tab", "1", "2", "2", "Control+Enter")
    words = page.locator(".toast").inner_text()
    assert "A is rated 7, above D (2), but stands below it." in words
    assert "Not compared: C." in words
    assert taken(site) == []
    press(page, "Control+Enter")
    [label] = wait_for_labels(site, 1)
    assert [len(group) for group in label.ranking] == [1, 2]


def test_half_rated_or_hardly_ordered_is_refused_in_words(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    press(page, "Control+Enter")
    assert page.locator("#obstacle").inner_text() == "Put at least two answers in order."
    press(page, "5", "Control+Enter")
    assert page.locator("#obstacle").inner_text() == "Give every answer a rating, or none."
    assert taken(site) == []


@pytest.mark.parametrize(("key", "outcome"), [("0", "all_bad"), ("f", "all_good")])
def test_a_verdict_on_all_is_one_key(site: "Site", watched: "Watched", key: str, outcome: str) -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    press(page, key, key, key, "Control+Enter")
    [label] = wait_for_labels(site, 1)
    assert (label.outcome, label.ranking) == (outcome, [[0, 1, 2, 3]])


def test_skip_asks_for_a_reason_and_can_be_taken_back(site: "Site", watched: "Watched") -> None:
    first = site.comparison(TEXTS, prompt="Question 0")
    site.comparison(TEXTS, prompt="Question 1")
    page = open_desk(site, watched)
    press(page, "s", "Escape")
    assert "Question 0" in page.locator("#messages").inner_text()
    press(page, "4", "s", "3")
    page.wait_for_selector("#messages:has-text('Question 1')")
    press(page, "z")
    page.wait_for_selector("#messages:has-text('Question 0')")
    assert page.locator("#quality [aria-checked=true]").inner_text() == "4", "the draft is back, too"
    with page.expect_response("**/skip") as answer:
        press(page, "s", "3")
        page.wait_for_selector("#messages:has-text('Question 1')")
    assert answer.value.request.post_data_json["reason"] == "broken"
    assert leases.lease(site.ledger, "training", "bob").item_id == first.id  # type: ignore[union-attr]


def test_report_takes_an_item_from_everybody(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS, prompt="Question 0")
    page = open_desk(site, watched)
    press(page, "Shift+Digit1", "3")
    page.wait_for_selector("#empty:not([hidden])")
    assert leases.lease(site.ledger, "training", "bob") is None


def test_demonstration_is_written_and_sent_by_keyboard(site: "Site", watched: "Watched") -> None:
    prompt = site.demonstration_request()
    page = watched.open(site, "/labeling", site.key("labeler", "ada"))
    page.wait_for_selector("#empty:not([hidden])")
    page.select_option("#queue", "demonstration")
    page.wait_for_selector("#response:focus")
    page.keyboard.type("Bob lives in York, in a small house.")
    press(page, "Control+Enter")
    page.wait_for_selector("#empty:not([hidden])")
    page.wait_for_selector("#tally:text-is('1 today')")
    [(_, found)] = list(demonstrations.read(site.ledger))
    assert (found.prompt_id, found.response) == (prompt.id, "Bob lives in York, in a small house.")


def test_where_none_is_right_the_labeler_writes_it(site: "Site", watched: "Watched") -> None:
    comparison = site.comparison(TEXTS)
    page = open_desk(site, watched)
    press(page, "j", "m")
    page.wait_for_selector("#write-text:focus")
    second = texts_on_screen(page)[1]
    assert page.input_value("#write-text") == second
    press(page, "Control+a")
    page.keyboard.type("Bob lives in Leeds.")
    press(page, "Control+Enter")
    page.wait_for_selector(".toast:has-text('Your answer is stored.')")
    [(_, found)] = list(demonstrations.read(site.ledger))
    assert (found.response, found.source, found.comparison_id) == ("Bob lives in Leeds.", "comparison", comparison.id)
    assert found.based_on == TEXTS.index(second)
    press(page, "0", "Control+Enter")
    assert wait_for_labels(site, 1)[0].outcome == "all_bad"


def test_offending_words_are_marked_by_keyboard(site: "Site", watched: "Watched") -> None:
    texts = ["Sm\u0131le \U0001f600\r\n\r\nat Bob, you fool.", "No."]
    site.comparison(texts)
    page = open_desk(site, watched)
    position = next(index for index, text in enumerate(texts_on_screen(page)) if "fool" in text)
    press(page, *["j"] * position, "h")
    page.wait_for_selector("#mark-text:focus")
    press(page, "Control+End", "ArrowLeft", *["Shift+ArrowLeft"] * 4, "Enter")
    assert page.locator("#spans q").inner_text() == "fool"
    press(page, "Tab", "1", "2", "Control+Enter")
    [label] = wait_for_labels(site, 1)
    [span] = label.spans
    assert texts[span.completion][span.start : span.end] == "fool"


def test_order_is_made_by_mouse_too(site: "Site", watched: "Watched") -> None:
    site.comparison(TEXTS)
    page = open_desk(site, watched)
    for letter in "BAC":
        page.click(f".chip-letter:text-is('{letter}')")
    assert order_on_screen(page) == [["1st", "B"], ["2nd", "A"], ["3rd", "C"], ["open", "D"]]
    page.drag_and_drop(".chip-letter:text-is('D')", "#order li:nth-child(1)")
    assert order_on_screen(page) == [["1st", "B", "D"], ["2nd", "A"], ["3rd", "C"]]
    row = page.locator("#order li:nth-child(1)").bounding_box()
    assert row is not None
    target = {"x": row["width"] / 2, "y": 2}
    page.drag_and_drop(".chip-letter:text-is('C')", "#order li:nth-child(1)", target_position=target)
    assert order_on_screen(page) == [["1st", "C"], ["2nd", "B", "D"], ["3rd", "A"]]
    page.click("#submit")
    [label] = wait_for_labels(site, 1)
    assert label.input == "mouse"
