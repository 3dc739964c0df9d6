"""Compare and battle in a real Chromium; the battles, votes and comparisons behind them are real."""

from typing import TYPE_CHECKING

import pytest

from feedback import comparisons, labels, prompts
from tests.serve.pages.upstream import OTHER, VERSION, Upstream, say, start

if TYPE_CHECKING:
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]
SAID = {VERSION: "I am the old one. " * 60, OTHER: "I am the new one. " * 60}


def test_one_prompt_goes_to_all_panes_each_with_its_own_parameters(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, SAID, pause_s=0)
    page = start(site, watched)
    page.click("#mode-compare")
    page.click(".add")
    assert page.locator(".pane").count() == 3
    page.select_option(".pane >> nth=1 >> select.model", OTHER)
    page.select_option(".pane >> nth=2 >> select.model", VERSION)
    page.click(".pane >> nth=2 >> .own > summary")
    page.fill("#pane-2-temperature", "0.1")
    page.click(".pane >> nth=2 >> .own > summary")
    say(page, "Who are you?", 3)
    asked = {(body["model"], body["temperature"]) for body in upstream.asked}
    assert asked == {("live", 0.7), (OTHER, 0.7), (VERSION, 0.1)}
    assert page.locator(".pane .version").all_inner_texts() == [VERSION, OTHER, VERSION]
    assert all("first after" in words for words in page.locator(".pane .figures").all_inner_texts())
    say(page, "Go on", 6)
    assert {len(body["messages"]) for body in upstream.asked[3:]} == {3}


def test_panes_scroll_together(site: "Site", watched: "Watched") -> None:
    Upstream(site, SAID, pause_s=0)
    page = start(site, watched)
    page.click("#mode-compare")
    say(page, "Who are you?", 2)
    page.wait_for_selector("#verdict:not([hidden])")
    page.locator(".pane-thread >> nth=0").evaluate("node => { node.scrollTop = 0; }")
    page.wait_for_function("() => document.querySelectorAll('.pane-thread')[1].scrollTop === 0")


def test_verdict_on_compared_answers_is_a_comparison_in_the_ledger(site: "Site", watched: "Watched") -> None:
    Upstream(site, SAID, pause_s=0)
    page = start(site, watched)
    page.click("#mode-compare")
    page.select_option(".pane >> nth=1 >> select.model", OTHER)
    say(page, "Who are you?", 2)
    page.click("#verdict [data-verdict=b]")
    page.wait_for_selector("#verdict:has-text('stored')")
    [(_, label)] = labels.read(site.ledger)
    comparison = comparisons.get(site.ledger, label.comparison_id)
    assert label.ranking == [[0], [1]]
    assert [each.policy_version for each in comparison.completions] == [OTHER, VERSION]
    assert label.note


@pytest.mark.parametrize(
    ("verdict", "ranking", "quality"),
    [("a", [[0], [1]], []), ("b", [[1], [0]], []), ("tie", [[0, 1]], []), ("both_bad", [[0, 1]], [1, 1])],
)
def test_battle_hides_the_names_until_the_vote(
    two_policies: None, site: "Site", watched: "Watched", verdict: str, ranking: list[list[int]], quality: list[int]
) -> None:
    upstream = Upstream(site, SAID, pause_s=0)
    page = start(site, watched)
    page.click("#mode-battle")
    say(page, "Who are you?", 2)
    page.wait_for_selector("#verdict:not([hidden])")
    assert "policy-" not in page.locator(".talk").inner_text()
    assert all(body["model"].startswith("battle-") for body in upstream.asked)
    page.click(f"#verdict [data-verdict={verdict}]")
    page.wait_for_selector("#verdict [role=status]:has-text('Stored')")
    [(_, label)] = labels.read(site.ledger)
    comparison = comparisons.get(site.ledger, label.comparison_id)
    assert (label.labeler, label.labeler_group, label.ranking, label.quality) == ("acme", "customer", ranking, quality)
    shown = page.locator(".pane .version").all_inner_texts()
    assert shown == [each.policy_version for each in comparison.completions]
    assert sorted(shown) == [VERSION, OTHER]
    said = page.locator(".pane .turn.assistant .text").all_inner_texts()
    assert [text.strip() for text in said] == [SAID[version].strip() for version in shown]
    assert page.locator("#verdict button").count() == 0


def test_battle_without_consent_is_refused_in_words(two_policies: None, site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, SAID, pause_s=0)
    page = start(site, watched)
    page.click(".consent .switch")
    page.click("#mode-battle")
    assert "battles are off too" in page.locator("#consent-why").inner_text()
    page.fill("#prompt", "Who are you?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast:has-text('need')")
    assert upstream.asked == []
    assert page.input_value("#prompt") == "Who are you?"


def test_battle_of_one_policy_says_what_is_missing(site: "Site", watched: "Watched") -> None:
    Upstream(site, SAID)
    page = start(site, watched)
    page.click("#mode-battle")
    page.fill("#prompt", "Who are you?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast:has-text('two loaded policies')")


def test_replay_asks_the_same_of_other_versions(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, {VERSION: "Old.", OTHER: "New."})
    page = start(site, watched)
    say(page, "One")
    say(page, "Two", 2)
    page.click(".menu summary >> nth=1")
    page.click(".replay >> nth=1")
    page.wait_for_selector("#mode-compare[aria-pressed=true]")
    assert page.input_value("#prompt") == "Two"
    page.focus("#prompt")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.pane .rate:not([hidden])').length === 2")
    contents = [[message["content"] for message in body["messages"]] for body in upstream.asked[2:]]
    assert contents == [["One", "Old.", "Two"]] * 2


def test_operator_sends_a_prompt_to_the_labelers(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Yes.")
    page = start(site, watched, "operator")
    say(page, "Who are you?")
    page.click(".menu summary")
    page.click(".queue")
    page.wait_for_selector(".toast:has-text('head of the queue')")
    [prompt] = prompts.all_prompts(site.ledger)
    assert prompt.messages[0].content == "Who are you?"
    assert comparisons.being_sampled(site.ledger) == 1
    assert len(upstream.asked) == 1
