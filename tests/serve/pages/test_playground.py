"""The Playground in a real Chromium: one conversation, what it is asked with, and how its answers are rated."""

from typing import TYPE_CHECKING

import pytest

from feedback import interactions, keys
from feedback.records import Interaction, Rating
from tests.serve.pages.upstream import OTHER, VERSION, Upstream, say, start

if TYPE_CHECKING:
    from tests.serve.conftest import Server
    from tests.serve.pages.conftest import Site, Watched

pytestmark = [pytest.mark.redis, pytest.mark.browser]


def ratings(site: "Site") -> list[Rating]:
    return [rating for _, rating in site.ledger.stream(keys.RATINGS, Rating)]


def test_answer_streams_names_its_version_and_the_conversation_goes_on(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "People flew to the moon. " * 6 + "The end.", pause_s=0.03)
    page = start(site, watched)
    page.keyboard.type("What was the moon landing?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn.streaming .text:has-text('flew')")
    assert "The end." not in page.locator(".turn.assistant .text").inner_text()
    page.wait_for_selector(".turn.assistant:not(.streaming) .text:has-text('The end.')")
    assert page.locator(".turn.assistant .version").inner_text() == VERSION
    figures = page.locator(".turn.assistant .figures").inner_text()
    assert "stop" in figures
    assert "5 → " in figures
    assert "first after" in figures
    say(page, "And then?", 2)
    roles = [[message["role"] for message in asked["messages"]] for asked in upstream.asked]
    assert roles == [["user"], ["user", "assistant", "user"]]
    assert upstream.asked[1]["messages"][1]["content"] == upstream.answer
    conversations = {headers["x-conversation-id"] for headers in upstream.headers}
    assert len(conversations) == 1


def test_parameters_reach_the_api_within_its_allowlist(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Blue.")
    page = start(site, watched)
    page.select_option("#model", VERSION)
    page.fill("#system", "Be brief with {{who}}.")
    page.fill("#temperature", "1.2")
    page.fill("#top_p", "0.9")
    page.fill("#max_tokens", "33")
    page.click(".rare summary")
    page.fill("#seed", "17")
    page.fill("#stop-at", "END\n\\n\\n")
    page.fill("#presence_penalty", "0.5")
    page.fill("#frequency_penalty", "-0.5")
    page.fill("#variables input[name=who]", "Bob")
    say(page, "Colour, {{who}}?")
    assert upstream.asked == [
        {
            "model": VERSION,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 1.2,
            "top_p": 0.9,
            "max_tokens": 33,
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
            "stop": ["END", "\n\n"],
            "seed": 17,
            "messages": [
                {"role": "system", "content": "Be brief with Bob."},
                {"role": "user", "content": "Colour, Bob?"},
            ],
        }
    ]


def test_values_out_of_range_are_explained_and_not_sent(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Blue.")
    page = start(site, watched)
    page.fill("#max_tokens", "0")
    assert "from 1 to 256" in page.locator("#fields").inner_text()
    page.fill("#prompt", "Colour?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast:has-text('Max tokens')")
    assert upstream.asked == []
    page.click("#reset")
    assert page.input_value("#max_tokens") == "128"
    page.focus("#prompt")
    say(page, "Colour?")
    assert upstream.asked[0]["max_tokens"] == 128


def test_presets_keep_parameters_and_system_prompt_under_a_name(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Blue.")
    page = start(site, watched)
    page.fill("#system", "Be rude.")
    page.fill("#temperature", "1.5")
    page.click(".presets summary")
    page.fill("#preset-name", "rude")
    page.keyboard.press("Enter")
    page.click("#reset")
    assert (page.input_value("#system"), page.input_value("#temperature")) == ("", "0.7")
    page.select_option("#preset", "rude")
    assert (page.input_value("#system"), page.input_value("#temperature")) == ("Be rude.", "1.5")
    page.click("#preset-forget")
    assert page.locator("#preset option").all_inner_texts() == ["None saved"]


def test_complete_mode_continues_text(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, " there was a frog.")
    page = start(site, watched)
    page.click("#mode-complete")
    page.fill("#prompt", "Once upon a time")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".rate:not([hidden])")
    assert upstream.asked[0]["prompt"] == "Once upon a time"
    assert "messages" not in upstream.asked[0]
    assert page.locator(".turn.assistant .text").text_content() == " there was a frog."
    assert page.input_value("#prompt") == "Once upon a time"
    assert not page.locator("#system").is_visible()


def test_stop_keeps_what_was_said_marks_it_and_hangs_up(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "on and " * 400, pause_s=0.02)
    page = start(site, watched)
    page.keyboard.type("Go")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn.streaming .text:has-text('on and')")
    page.keyboard.press("Escape")
    page.wait_for_selector(".turn.assistant:not(.streaming) .figures:has-text('stopped')")
    assert page.locator(".turn.assistant .text").inner_text().startswith("on and")
    assert page.locator("#send").is_visible()
    page.wait_for_function("() => !document.querySelector('.streaming')")
    page.wait_for_timeout(500)
    assert upstream.closed_early == 1


def test_consent_is_always_in_sight_and_off_is_told_to_the_api(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Yes.")
    page = start(site, watched)
    for turn in (1, 2):
        assert page.locator("#consent-state").is_visible()
        say(page, "Hello", turn)
        page.click(".consent .switch")
    assert [page.locator(".turn .up").nth(turn).is_visible() for turn in (0, 1)] == [True, False]
    assert "not logged" in page.locator(".turn.assistant .figures").nth(1).inner_text()
    assert upstream.consents == [None, "no"]
    assert page.locator("#chats .chip:has-text('not logged')").count() == 1


def test_key_without_consent_says_so_and_cannot_be_widened(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Yes.")
    watched.page.add_init_script("localStorage.setItem('whetstone-notice', '1')")
    page = watched.open(site, "/playground", site.key("client", "acme", consent=False))
    page.wait_for_selector("#consent-why:has-text('owner turned it off')")
    assert page.locator("#consent").is_disabled()
    say(page, "Hello")
    assert upstream.consents == ["no"]


def test_notice_comes_first_and_once(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Yes.")
    page = watched.open(site, "/playground", site.key("client", "acme"))
    page.wait_for_selector("#notice[open]")
    page.click("#notice button[value=off]")
    page.wait_for_selector("#consent-state:has-text('off')")
    page.reload()
    page.wait_for_selector("#prompt:focus")
    assert not page.locator("#notice").is_visible()


def test_thumbs_reasons_and_words_are_stored_for_that_answer(site: "Site", watched: "Watched") -> None:
    Upstream(site, "Go away.")
    page = start(site, watched)
    say(page, "Hello")
    page.click(".turn .down")
    page.wait_for_selector(".more:not([hidden])")
    page.click(".reason:has-text('made up')")
    page.fill(".comment", "rude")
    page.fill(".edit", "Hello to you.")
    page.click(".more button[type=submit]")
    page.wait_for_selector(".toast:has-text('stored')")
    first, second = ratings(site)
    assert (first.rating, second.rating, second.comment, second.edit) == (-1, -1, "rude", "Hello to you.")
    assert second.reasons == ["made up"]
    assert first.interaction_id == second.interaction_id
    assert page.get_attribute(".turn .down", "aria-pressed") == "true"


def test_error_is_told_in_words_and_can_be_retried(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "503")
    page = start(site, watched)
    say(page, "Hello")
    page.wait_for_selector(".turn .error:has-text('Every slot is busy')")
    upstream.answer = "Here I am."
    page.click(".retry:not([disabled])")
    page.wait_for_selector(".turn .text:has-text('Here I am.')")
    assert [len(asked["messages"]) for asked in upstream.asked] == [1, 1]


def test_swap_in_the_middle_is_shown_and_the_old_version_can_be_kept(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "Yes.")
    page = start(site, watched)
    say(page, "One")
    upstream.aliases["live"] = OTHER
    say(page, "Two", 2)
    notice = page.locator(".notice")
    assert f"{VERSION} → {OTHER}" in notice.inner_text()
    notice.locator("button").click()
    say(page, "Three", 3)
    assert [asked["model"] for asked in upstream.asked] == ["live", "live", VERSION]


@pytest.mark.parametrize("role", ["client", "operator"])
def test_candidates_are_offered_to_operators_only(
    two_policies: None, site: "Site", watched: "Watched", role: str
) -> None:
    Upstream(site, "Yes.")
    page = start(site, watched, role)
    names = page.locator("#model option").evaluate_all("options => options.map(option => option.value)")
    assert ("candidate" in names, OTHER in names) == (role == "operator", role == "operator")
    assert VERSION in names


def test_several_answers_lie_side_by_side_and_only_the_first_is_rated(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "A pear.")
    page = start(site, watched)
    page.click(".rare summary")
    page.fill("#n", "3")
    say(page, "Fruit?")
    page.wait_for_selector(".turn.assistant .siblings:has-text('1 / 3')")
    assert upstream.asked[0]["n"] == 3
    assert page.locator(".turn .up").is_visible()
    page.click(".turn.assistant .on")
    page.wait_for_selector(".turn.assistant .siblings:has-text('2 / 3')")
    assert not page.locator(".turn .up").is_visible()
    assert "not logged" in page.locator(".figures").inner_text()


def test_token_probabilities_are_shown_on_demand(site: "Site", watched: "Watched") -> None:
    upstream = Upstream(site, "A pear.")
    page = start(site, watched)
    page.click(".rare summary")
    page.check("#logprobs")
    page.click("[data-way=tokens]")
    say(page, "Fruit?")
    assert (upstream.asked[0]["logprobs"], upstream.asked[0]["top_logprobs"]) == (True, 5)
    assert page.locator(".token").all_text_contents() == ["A ", "pear."]
    assert '"else"  8.2 %' in str(page.get_attribute(".token >> nth=0", "title"))


@pytest.mark.vllm
@pytest.mark.slow
def test_real_policy_streams_into_the_page_and_its_answer_can_be_rated(server: "Server", watched: "Watched") -> None:
    version = server.live()
    watched.page.add_init_script("localStorage.setItem('whetstone-notice', '1')")
    page = watched.open(server, "/playground", server.client_key)
    page.wait_for_selector("#prompt:focus")
    options = page.locator("#model option").all_inner_texts()
    assert any(option.startswith(f"live → {version}") for option in options)
    page.fill("#temperature", "0")
    page.fill("#max_tokens", "8")
    page.click("[data-way=raw]")
    page.fill("#prompt", "hello")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn.assistant .rate:not([hidden])")
    reference = server.references[version]
    expected = reference.tokenizer.decode(reference.chat("hello", 8), skip_special_tokens=True)
    # the last character may be cut off in the middle of its bytes, which a stream holds back
    assert page.locator(".turn.assistant .text").text_content() == expected.rstrip("\ufffd")
    assert page.locator(".turn.assistant .version").inner_text() == version
    before = len([*server.ledger.stream(keys.RATINGS, Rating)])
    page.click(".turn .up")
    page.wait_for_selector(".turn .up[aria-pressed=true]")
    server.wait(lambda: len([*server.ledger.stream(keys.RATINGS, Rating)]) == before + 1, "the rating", 10)
    *_, (_, rating) = server.ledger.stream(keys.RATINGS, Rating)
    server.wait(lambda: server.ledger.get(keys.interaction(rating.interaction_id), Interaction), "the log", 10)
    assert rating.rating == 1
    assert interactions.get(server.ledger, rating.interaction_id).policy_version == version
