"""The writing page in a real Chromium: autosave, reload, a dead network, review, demonstrations."""

import time
from typing import TYPE_CHECKING

import pytest

from feedback import demonstration_reviews, demonstrations, writing
from feedback.records import WrittenPrompt
from tests.serve.pages.accessible import violations

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
PAIRS = [("Paris", "France"), ("Rome", "Italy"), ("Quito", "Ecuador")]


def open_page(site: "Site", watched: "Watched") -> "Page":
    return watched.open(site, "/writing", site.key("labeler", "ada"))


def stored(site: "Site", state: str, deadline_s: float = 15) -> WrittenPrompt:
    """Return ada's only prompt once it is in this state."""
    until = time.monotonic() + deadline_s
    while True:
        found = writing.written_by(site.ledger, "ada")
        if [each.state for each in found] == [state]:
            return found[0]
        assert time.monotonic() < until, found
        time.sleep(0.05)


def write_few_shot(page: "Page") -> None:
    """Write a few-shot prompt of three pairs, by keyboard once it is begun."""
    page.click("#new-prompt")
    page.wait_for_selector("#text:focus")
    page.check("[value=few_shot]")
    page.select_option("#use-case", "open_qa")
    page.fill("#text", "Name the country of the city.")
    for query, response in PAIRS:
        page.click("#add-shot")
        page.wait_for_selector(".shot:last-child .query:focus")
        page.keyboard.type(query)
        page.keyboard.press("Tab")
        page.keyboard.type(response)


def test_a_few_shot_prompt_is_saved_while_it_is_typed_survives_a_reload_and_is_submitted(
    site: "Site", watched: "Watched"
) -> None:
    page = open_page(site, watched)
    write_few_shot(page)
    assert page.locator("#gives").inner_text() == "gives 3 training items"
    page.wait_for_selector("#saved:has-text('saved, revision')")
    page.reload()
    page.wait_for_selector(".shot:nth-child(3)")
    assert page.input_value("#text") == "Name the country of the city."
    assert [node.input_value() for node in page.locator(".shot .response").all()] == [each for _, each in PAIRS]
    page.focus("#text")
    page.keyboard.press("Control+Enter")
    found = stored(site, "submitted")
    assert [(shot.query, shot.response) for shot in found.shots] == PAIRS
    assert (found.kind, found.use_case) == ("few_shot", "open_qa")
    page.wait_for_selector("#state:text-is('in review')")
    assert page.locator("#text").is_disabled()
    assert len(writing.history(site.ledger, found.id)) == found.revision + 1


def test_an_unfinished_prompt_is_not_submitted_and_says_what_is_missing(site: "Site", watched: "Watched") -> None:
    page = open_page(site, watched)
    page.click("#new-prompt")
    page.wait_for_selector("#problem:has-text('write the prompt first')")
    page.wait_for_selector("#text:focus")
    assert page.locator("#submit").is_disabled()
    page.keyboard.type("Hello?")
    page.wait_for_selector("#submit:enabled")
    assert page.locator("#problem").inner_text() == ""


def test_what_is_typed_without_a_network_is_kept_and_saved_when_it_is_back(site: "Site", watched: "Watched") -> None:
    page = open_page(site, watched)
    page.click("#new-prompt")
    page.wait_for_selector("#text:focus")
    page.context.set_offline(True)
    page.keyboard.type("Written in a tunnel")
    page.wait_for_selector("#saved:has-text('not on the server yet')")
    assert stored(site, "draft").text == ""
    page.context.set_offline(False)
    page.wait_for_selector("#saved:has-text('saved, revision 1')")
    assert stored(site, "draft").text == "Written in a tunnel"


def with_mine(site: "Site", watched: "Watched") -> "Page":
    """The page with one new prompt, whose text "mine" is saved."""
    page = open_page(site, watched)
    page.click("#new-prompt")
    page.wait_for_selector("#text:focus")
    page.keyboard.type("mine")
    page.wait_for_selector("#saved:has-text('saved, revision 1')")
    return page


def test_a_change_made_elsewhere_is_not_overwritten_unasked(site: "Site", watched: "Watched") -> None:
    page = with_mine(site, watched)
    found = stored(site, "draft")
    for text, keep in (("theirs", "#keep-mine"), ("theirs again", "#take-theirs")):
        last = writing.get(site.ledger, found.id)
        writing.edit(site.ledger, found.id, "ada", last.revision, kind="plain", use_case="chat", text=text, shots=[])
        page.focus("#text")
        page.keyboard.type("!")
        page.wait_for_selector("#conflict:not([hidden])")
        assert writing.get(site.ledger, found.id).text == text
        page.click(keep)
        page.wait_for_selector("#conflict", state="hidden")
        if keep == "#keep-mine":
            page.wait_for_selector("#saved:has-text('saved, revision 3')")
            assert writing.get(site.ledger, found.id).text == "mine!"
    assert page.input_value("#text") == "theirs again"
    texts = [each.text for each in writing.history(site.ledger, found.id)]
    assert texts == ["", "mine", "theirs", "mine!", "theirs again"]


def test_the_others_version_that_does_not_arrive_leaves_the_choice(site: "Site", watched: "Watched") -> None:
    page = with_mine(site, watched)
    found = stored(site, "draft")
    writing.edit(site.ledger, found.id, "ada", 1, kind="plain", use_case="chat", text="theirs", shots=[])
    page.keyboard.type("!")
    page.wait_for_selector("#conflict:not([hidden])")
    page.context.set_offline(True)
    page.click("#take-theirs")
    page.wait_for_selector(".toast")
    assert page.is_visible("#conflict")
    assert page.input_value("#text") == "mine!"
    page.context.set_offline(False)
    page.click("#take-theirs")
    page.wait_for_selector("#conflict", state="hidden")
    assert page.input_value("#text") == "theirs"


def test_a_returned_prompt_shows_the_comment_and_its_history_and_can_be_deleted(
    site: "Site", watched: "Watched"
) -> None:
    page = open_page(site, watched)
    page.click("#new-prompt")
    page.wait_for_selector("#text:focus")
    page.keyboard.type("Write a pome.")
    page.wait_for_selector("#saved:has-text('saved, revision 1')")
    page.keyboard.press("Control+Enter")
    found = stored(site, "submitted")
    writing.send_back(site.ledger, found.id, found.revision, "returned", "olga", "A typo: pome.")
    page.reload()
    page.wait_for_selector("#comment:has-text('A typo: pome.')")
    page.fill("#text", "Write a poem.")
    page.wait_for_selector("#saved:has-text('saved, revision 4')")
    page.click("#history summary")
    page.wait_for_selector("#history ins:has-text('poem')")
    assert page.locator("#history del").first.inner_text() == "pome"
    page.click("#delete")
    page.keyboard.press("Enter")
    page.wait_for_selector("#welcome:not([hidden])")
    assert writing.written_by(site.ledger, "ada") == []


def test_a_demonstration_is_written_returned_and_written_again(site: "Site", watched: "Watched") -> None:
    prompt = site.demonstration_request("Where does Bob live?")
    page = open_page(site, watched)
    page.click("#show-answers")
    page.click("#take")
    page.wait_for_selector("#messages:has-text('Where does Bob live?')")
    page.keyboard.type("In York.")
    page.wait_for_selector("#saved:has-text('draft saved')")
    page.reload()
    page.wait_for_selector("#messages:has-text('Where does Bob live?')")
    assert page.input_value("#response") == "In York."
    page.focus("#response")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#list .chip:text-is('in review')")
    [(_, first)] = list(demonstrations.read(site.ledger))
    assert (first.prompt_id, first.response, first.labeler) == (prompt.id, "In York.", "ada")
    demonstration_reviews.review(site.ledger, first.id, "returned", "olga", "Say more.")
    page.reload()
    page.click("#show-answers")
    page.click("#list button:has-text('returned')")
    page.wait_for_selector("#answer-comment:has-text('Say more.')")
    page.fill("#response", "In York, in a small house.")
    page.click("#send")
    page.wait_for_selector("#list .chip:text-is('in review')")
    [(_, second)] = list(demonstrations.current(site.ledger))
    assert (second.response, second.revision, second.revision_of) == ("In York, in a small house.", 1, first.id)


def test_a_request_is_skipped_with_a_reason(site: "Site", watched: "Watched") -> None:
    site.demonstration_request()
    page = open_page(site, watched)
    page.click("#show-answers")
    page.click("#take")
    page.click("#skip")
    page.click("#ask-choices [value=expertise]")
    page.wait_for_selector("#welcome:not([hidden])")
    page.click("#take")
    page.wait_for_selector(".toast:has-text('No request waits')")


HOSTILE = "<img src=x onerror='window.hit = 1'> [x](javascript:alert(1)) </textarea><script>window.hit = 1</script>"


def test_hostile_text_does_nothing(site: "Site", watched: "Watched") -> None:
    site.demonstration_request(HOSTILE)
    page = open_page(site, watched)
    page.click("#new-prompt")
    page.fill("#text", HOSTILE)
    page.wait_for_selector("#saved:has-text('saved, revision')")
    page.click("#history summary")
    page.wait_for_selector("#history ins")
    page.click("#show-answers")
    page.click("#take")
    page.wait_for_selector("#messages .text")
    assert page.locator("#messages .text").text_content() == HOSTILE
    assert page.evaluate("window.hit") is None
    assert page.locator("#app script, #app img, #app a").count() == 0


def test_the_page_is_accessible_in_each_of_its_states(site: "Site", inspected: "Watched") -> None:
    inspected.page.goto(f"{site.url}/writing")
    inspected.page.wait_for_selector("#key:focus")
    assert violations(inspected.page) == []
    site.demonstration_request()
    page = open_page(site, inspected)
    assert violations(page) == []
    write_few_shot(page)
    page.wait_for_selector("#saved:has-text('saved, revision')")
    page.click("#history summary")
    page.wait_for_selector("#history ins")
    assert violations(page) == []
    page.click("#delete")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.click("#show-answers")
    page.click("#take")
    page.wait_for_selector("#response:focus")
    assert violations(page) == []
