"""The review page in a real Chromium: a disagreement settled by keyboard, a few-shot prompt taken in, nobody named."""

import uuid
from typing import TYPE_CHECKING

import pytest

from feedback import (
    demonstration_reviews,
    demonstrations,
    labels,
    leases,
    prompts,
    reviews,
    writing,
)
from feedback.ids import new_id
from feedback.records import Comparison, Demonstration, Label, Shot, WrittenPrompt, utc_now
from tests.serve.pages.accessible import violations

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
TEXTS = ["Bob lives in York.", "I do not know.", "Go away."]
SHOTS = [Shot(query=city, response=country) for city, country in (("Paris", "France"), ("Rome", "Italy"))]


def disputed(site: "Site", note: str = "A says where") -> Comparison:
    """A comparison that ada and bob ranked in opposite ways, under review."""
    item = site.comparison(TEXTS, overlap=2)
    for labeler, ranking in (("ada", [[0], [1], [2]]), ("bob", [[2], [0, 1]])):
        give(site, item, labeler, ranking, note)
    reviews.open_review(site.ledger, item.id, "disagreement", "2 of 3 pairs are ordered both ways")
    return item


def give(site: "Site", item: Comparison, labeler: str, ranking: list[list[int]], note: str) -> None:
    """Append a label as the submit move would."""
    label = Label(
        id=str(uuid.uuid4()),
        created_at=utc_now(),
        comparison_id=item.id,
        labeler=labeler,
        labeler_group="training",
        ranking=ranking,
        quality=[6, 4, 2],
        flags={"inappropriate": [2]},
        note=note,
    )
    lease = leases.lease(site.ledger, "training", labeler)
    assert lease is not None
    labels.submit(site.ledger, label, item, lease.token)


def written(site: "Site") -> WrittenPrompt:
    draft = WrittenPrompt(
        id=new_id("wri"),
        created_at=utc_now(),
        labeler="ada",
        kind="few_shot",
        use_case="open_qa",
        text="Name the country.",
        shots=SHOTS,
    )
    writing.begin(site.ledger, draft)
    return writing.submit(site.ledger, draft.id, "ada", 0)


def demonstrated(site: "Site") -> Demonstration:
    prompt = site.demonstration_request("Where does Ann live?")
    lease = leases.lease(site.ledger, demonstrations.QUEUE, "ada")
    assert lease is not None
    made = Demonstration(
        id=str(uuid.uuid4()),
        created_at=utc_now(),
        prompt_id=prompt.id,
        customer=prompt.customer,
        messages=prompt.messages,
        response="In Leeds.",
        labeler="ada",
        split="train",
    )
    demonstrations.submit(site.ledger, made, lease.token)
    return made


def open_page(site: "Site", watched: "Watched") -> "Page":
    return watched.open(site, "/review", site.key("operator", "olga"))


def press(page: "Page", *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_a_disagreement_is_settled_by_keyboard_alone(site: "Site", watched: "Watched") -> None:
    item = disputed(site)
    page = open_page(site, watched)
    page.wait_for_selector("#list button")
    press(page, "]")
    page.wait_for_selector("#item .card[aria-current=true]")
    said = page.locator("#said").inner_text()
    for words in ("A > B > C", "C > A = B", "quality 6", "inappropriate", "A says where", "Labeler 1", "Labeler 2"):
        assert words in said
    assert not any(name in page.content() for name in ("ada", "bob", "policy-0007"))
    press(page, "1", "2", "2")
    assert page.locator("#order").inner_text().split() == ["A", "›", "B", "C"]
    assert "tied with" in page.locator("#announce").inner_text()
    press(page, "n")
    page.keyboard.type("Only A answers.")
    press(page, "Control+Enter")
    page.wait_for_selector("#nothing:not([hidden])")
    said_last = reviews.adjudications(site.ledger)[item.id]
    assert (said_last.ranking, said_last.reviewer, said_last.note) == ([[0], [1, 2]], "olga", "Only A answers.")
    assert len(said_last.labels) == 2
    assert labels.count(site.ledger) == 2


def test_an_unfinished_ranking_is_not_stored_and_all_bad_is(site: "Site", watched: "Watched") -> None:
    item = disputed(site)
    page = open_page(site, watched)
    page.click("#list button")
    page.wait_for_selector("#item .card[aria-current=true]")
    press(page, "1", "Control+Enter")
    assert page.locator("#rank").is_disabled()
    assert reviews.open_count(site.ledger) == 1
    press(page, "0", "Control+Enter")
    page.wait_for_selector("#nothing:not([hidden])")
    assert reviews.adjudications(site.ledger)[item.id].outcome == "all_bad"


def test_an_item_is_reopened_or_discarded_after_a_question(site: "Site", watched: "Watched") -> None:
    kept, thrown = site.comparison(TEXTS, prompt="First"), site.comparison(TEXTS, prompt="Second")
    for item in (kept, thrown):
        reviews.open_review(site.ledger, item.id, "report", "personal_data: an address")
    page = open_page(site, watched)
    page.wait_for_selector("#list button")
    press(page, "]")
    page.wait_for_selector("#item-messages:has-text('First')")
    assert page.locator("#reopen").inner_text() == "Back to the queue (1 wanted)"
    page.click("#reopen")
    page.wait_for_selector("#item-messages:has-text('Second')")
    page.click("#discard")
    page.keyboard.press("Escape")
    assert reviews.get(site.ledger, thrown.id).state == "open"
    page.click("#discard")
    page.click("#sure-go")
    page.wait_for_selector("#nothing:not([hidden])")
    assert reviews.get(site.ledger, kept.id).state == "reopened"
    assert reviews.discarded(site.ledger) == {thrown.id}
    assert leases.lease(site.ledger, "training", "kim").item_id == kept.id  # type: ignore[union-attr]


def test_a_few_shot_prompt_is_accepted_and_gives_its_items(site: "Site", watched: "Watched") -> None:
    draft = written(site)
    page = open_page(site, watched)
    page.click("#list button:has-text('Name the country.')")
    page.wait_for_selector("#text .pair:has-text('Rome')")
    press(page, "Control+Enter")
    page.wait_for_selector("#nothing:not([hidden])")
    done = writing.get(site.ledger, draft.id)
    assert (done.state, done.reviewer, len(done.prompt_ids)) == ("accepted", "olga", 2)
    assert [prompts.get(site.ledger, id).author for id in done.prompt_ids] == ["ada", "ada"]
    made = [each for _, each in demonstrations.read(site.ledger)]
    assert [(each.response, each.source) for each in made] == [("France", "few_shot"), ("Italy", "few_shot")]


def test_a_prompt_is_returned_with_a_comment_and_a_demonstration_rejected(site: "Site", watched: "Watched") -> None:
    draft, made = written(site), demonstrated(site)
    page = open_page(site, watched)
    page.click("#list button:has-text('Name the country.')")
    page.wait_for_selector("#text .pair")
    page.click("#return")
    page.wait_for_selector("#comment:focus")
    page.keyboard.type("Two more pairs.")
    page.click("#return")
    page.wait_for_selector("#text-body:has-text('In Leeds.')")
    assert writing.get(site.ledger, draft.id).comment == "Two more pairs."
    page.click("#reject")
    page.click("#sure-go")
    page.wait_for_selector("#nothing:not([hidden])")
    assert demonstration_reviews.latest(site.ledger)[made.id].verdict == "rejected"


def test_who_comes_second_is_told_and_shown_what_waits_now(site: "Site", watched: "Watched") -> None:
    item = disputed(site)
    page = open_page(site, watched)
    page.click("#list button")
    page.wait_for_selector("#item .card[aria-current=true]")
    reviews.resolve(site.ledger, item.id, "discarded", "oleg")
    press(page, "1", "2", "3", "Control+Enter")
    page.wait_for_selector(".toast.bad:has-text('the first word counts')")
    page.wait_for_selector("#nothing:not([hidden])")
    assert reviews.adjudications(site.ledger) == {}


HOSTILE = "<img src=x onerror='window.hit = 1'><script>window.hit = 1</script>"


def test_hostile_text_does_nothing(site: "Site", watched: "Watched") -> None:
    item = site.comparison([HOSTILE, "ok"], prompt=HOSTILE)
    reviews.open_review(site.ledger, item.id, "report", HOSTILE)
    page = open_page(site, watched)
    page.click("#list button")
    page.wait_for_selector("#item .card[aria-current=true]")
    assert page.locator("#item-messages .text").text_content() == HOSTILE
    assert page.locator("#details li").text_content() == HOSTILE
    assert page.evaluate("window.hit") is None
    assert page.locator("#app img, #app script").count() == 0


def test_the_page_is_accessible_in_each_of_its_states(site: "Site", inspected: "Watched") -> None:
    disputed(site)
    written(site)
    demonstrated(site)
    page = open_page(site, inspected)
    page.wait_for_selector("#list button")
    assert violations(page) == []
    press(page, "]")
    page.wait_for_selector("#item .card[aria-current=true]")
    press(page, "1", "2")
    assert violations(page) == []
    page.click("#discard")
    assert violations(page) == []
    page.keyboard.press("Escape")
    press(page, "]")
    page.wait_for_selector("#text .pair")
    page.click("#history summary")
    assert violations(page) == []
