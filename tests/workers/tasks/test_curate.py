from collections.abc import Callable

import pytest

from feedback import comparisons, interactions, keys, prompts
from feedback.client import Ledger
from feedback.records import Interaction
from workers.settings import WorkerSettings
from workers.tasks.curate import curate, keep

Ask = Callable[..., Interaction]


def test_an_interaction_becomes_a_prompt_and_a_planned_comparison(
    ledger: Ledger, settings: WorkerSettings, ask: Ask
) -> None:
    asked = ask("What is the capital of France?")
    assert curate(ledger, settings) == {"kept": 1}
    prompt = prompts.all_prompts(ledger)[0]
    assert (prompt.interaction_id, prompt.messages, prompt.customer) == (asked.id, asked.messages, "acme")
    assert comparisons.being_sampled(ledger) == 1
    assert curate(ledger, settings) == {}


def test_drops_are_counted_by_reason(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    few = settings.model_copy(update={"prompts_per_customer": 2})
    ask("a secret", consent=False)
    ask("?")
    ask("Name a fruit.")
    ask("  name a FRUIT.  ")
    ask("Name a tree.")
    ask("Name a bird.")
    expected = {"no consent": 1, "too short": 1, "duplicate": 1, "customer cap": 1}
    assert curate(ledger, few) == expected | {"kept": 2}
    assert prompts.dropped(ledger) == expected


def test_a_curator_that_died_before_it_was_done_changes_nothing(
    ledger: Ledger, settings: WorkerSettings, ask: Ask
) -> None:
    ask("Tell me a story.")
    for _, interaction in interactions.read_new(ledger, "a curator that dies"):
        assert keep(ledger, interaction, settings.rules) == "kept"
    now = settings.model_copy(update={"reclaim_s": 0.001})
    assert curate(ledger, now) == {"kept": 1}
    assert prompts.count(ledger) == 1
    assert prompts.dropped(ledger) == {}
    assert comparisons.being_sampled(ledger) == 1


def test_a_dead_curators_interactions_are_taken_over(ledger: Ledger, settings: WorkerSettings, ask: Ask) -> None:
    for number in range(7):
        ask(f"question number {number}")
    assert len(list(interactions.read_new(ledger, "a curator that dies"))) == 7
    assert curate(ledger, settings) == {}
    assert curate(ledger, settings.model_copy(update={"reclaim_s": 0.001})) == {"kept": 7}


@pytest.mark.parametrize("percent", [0, 100])
def test_a_customers_prompts_fall_into_one_split(
    ledger: Ledger, settings: WorkerSettings, ask: Ask, percent: int
) -> None:
    odd = settings.model_copy(update={"test_percent": percent, "valid_percent": 0})
    ask("one thing")
    ask("another thing")
    curate(ledger, odd)
    assert {prompt.split for prompt in prompts.all_prompts(ledger)} == {"test" if percent else "train"}


def test_what_labelers_get_is_masked_tagged_and_known_by_its_key(
    ledger: Ledger, settings: WorkerSettings, ask: Ask
) -> None:
    asked = ask("Write a short letter to ada@lovelace.org and thank her for the analytical engine.")
    curate(ledger, settings)
    prompt = prompts.all_prompts(ledger)[0]
    assert prompt.messages[-1].content == ("Write a short letter to <EMAIL_1> and thank her for the analytical engine.")
    assert (prompt.masked, prompt.use_case, prompt.language) == ({"email": 1}, "generation", "en")
    assert prompt.key_id == asked.key_id
    assert "lovelace" not in str(ledger.redis.zrange(keys.PROMPT_BEGINNINGS, 0, -1))


def test_prompts_that_differ_in_personal_data_only_are_the_same(
    ledger: Ledger, settings: WorkerSettings, ask: Ask
) -> None:
    ask("Who is ada@lovelace.org?")
    ask("Who is bob@babbage.org?")
    assert curate(ledger, settings) == {"kept": 1, "duplicate": 1}


def test_prompts_in_other_languages_are_dropped_if_the_operator_says_so(
    ledger: Ledger, settings: WorkerSettings, ask: Ask
) -> None:
    ask("Wie heißt die Hauptstadt von Frankreich?")
    ask("What would you call the capital of France?")
    english = settings.model_copy(update={"prompt_languages": ["en"]})
    assert curate(ledger, english) == {"kept": 1, "language": 1}
    assert prompts.dropped(ledger) == {"language": 1}
