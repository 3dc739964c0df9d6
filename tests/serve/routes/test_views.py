"""What a labeler sees: texts in an order of their own, and nothing that tells who wrote them or why they were asked."""

import json
from collections import Counter
from typing import Any

import msgspec

from feedback.queues import BUILT_IN
from feedback.records import Comparison, Lease
from serve.routes.views import display_order, shown_comparison, shown_prompt
from tests.builders import make_comparison, make_completion, make_prompt

TRAINING = BUILT_IN["training"]


def lease_of(comparison: Comparison, labeler: str = "lee", picked: str = "oldest") -> Lease:
    return Lease(item_id=comparison.id, labeler=labeler, token=7, deadline_s=2e9, leased_at_s=1.9e9, picked=picked)


def view(comparison: Comparison, labeler: str = "lee", picked: str = "oldest") -> dict[str, Any]:
    return shown_comparison(comparison, lease_of(comparison, labeler, picked), TRAINING)


def test_every_completion_is_shown_once_and_its_index_leads_back_to_it() -> None:
    comparison = make_comparison(k=9)
    seen = view(comparison)["completions"]
    assert [each["index"] for each in seen] == display_order(comparison.id, "lee", 9)
    assert {each["index"]: each["text"] for each in seen} == {
        index: completion.text for index, completion in enumerate(comparison.completions)
    }


def test_the_order_is_the_same_at_each_look_and_even_over_labelers() -> None:
    orders = [display_order("cmp_1", f"labeler {number}", 4) for number in range(2400)]
    assert orders == [display_order("cmp_1", f"labeler {number}", 4) for number in range(2400)]
    counts = Counter(map(tuple, orders))
    assert len(counts) == 24
    assert all(60 < count < 140 for count in counts.values()), "each order 100 times, give or take four deviations"


def test_a_check_a_repeat_and_another_item_look_alike() -> None:
    plain = make_comparison(k=4, id="cmp_1")
    check = msgspec.structs.replace(plain, purpose="gold", check_of="cmp_0")
    repeat = msgspec.structs.replace(plain, purpose="repeat", check_of="cmp_0", priority=True)
    assert view(plain) == view(check, picked="check") == view(repeat, picked="check")


def test_nothing_tells_who_wrote_what() -> None:
    stamp = {"policy_version": "policy-666777888", "temperature": 0.7}  # long: "666" stands in some random id
    completions = [make_completion(f"text {index}", seed=index, **stamp) for index in range(4)]
    comparison = make_comparison(k=4, completions=completions, customer="acme", authors=["ann"], models=["sft", "live"])
    text = json.dumps(view(comparison, picked="disagreement"))
    for secret in (
        "policy",
        "666777888",
        "seed",
        "temperature",
        "acme",
        "ann",
        "sft",
        "disagreement",
        "purpose",
        "check",
    ):
        assert secret not in text, secret


def test_near_repetitions_language_rules_and_the_draft_are_shown() -> None:
    twin = make_completion("An apple!", similar_to=0)
    comparison = make_comparison(k=2, completions=[make_completion(), twin], language="en")
    config = msgspec.structs.replace(TRAINING, daily_goal=240, ties=False)
    seen = shown_comparison(comparison, lease_of(comparison), config, {"ranks": [1, 2]})
    assert {each["index"]: each["similar_to"] for each in seen["completions"]} == {0: None, 1: 0}
    assert seen["language"] == "en"
    assert seen["rules"] == {"ties": False, "partial_order": True, "daily_goal": 240}
    assert seen["draft"] == {"ranks": [1, 2]}


def test_a_request_for_a_demonstration_shows_the_conversation_and_no_completions() -> None:
    prompt = make_prompt("Why?", language="en", customer="acme")
    seen = shown_prompt(prompt, Lease(item_id=prompt.id, labeler="lee", token=1, deadline_s=2e9), BUILT_IN["training"])
    assert (seen["kind"], seen["completions"], seen["draft"]) == ("demonstration", [], None)
    assert seen["messages"] == [{"role": "user", "content": "Why?"}]
    assert "acme" not in json.dumps(seen)


def test_only_prompts_that_may_hold_all_that_an_answer_says_are_closed_domain() -> None:
    shown = {
        use_case: view(make_comparison(use_case=use_case))["closed_domain"] for use_case in ("", "extract", "chat")
    }
    assert shown == {"": True, "extract": True, "chat": False}
