"""K different completions over real HTTP: where they come from, what is asked for again, what is refused."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from feedback.errors import DataError, Forbidden, Overloaded, ServingError, UnknownModel
from feedback.metrics import sampling_fallbacks_total
from feedback.records import Comparison, Completion, Message, utc_now
from workers.sampling import Sampler, seed_of
from workers.settings import WorkerSettings


def wish(k: int = 4, **fields: Any) -> Comparison:
    return Comparison(
        id="cmp_1",
        created_at=utc_now(),
        prompt_id="pro_1",
        customer="acme",
        messages=[Message(role="user", content="Say something.")],
        split="train",
        k=k,
        **fields,
    )


def sample(settings: WorkerSettings, comparison: Comparison, attempt: int = 1) -> list[Completion]:
    async def ask() -> list[Completion]:
        async with Sampler(settings) as sampler:
            if comparison.purpose == "evaluation":
                return await sampler.sample_each(comparison, attempt)
            return await sampler.sample(comparison, attempt, comparison.models)

    return asyncio.run(ask())


def test_one_request_gives_k_completions_stamped_with_where_they_came_from(settings: WorkerSettings, api: Any) -> None:
    completions = sample(settings, wish(k=5))
    assert len(api.requests) == 1
    request = api.requests[0]
    assert (request["n"], request["model"], request["temperature"], request["top_p"]) == (5, "live", 1.0, 1.0)
    assert request["headers"]["X-Whetstone-Consent"] == "no"
    assert request["headers"]["X-Priority"] == "background"
    assert [each.seed for each in completions] == [request["seed"] + index for index in range(5)]
    assert {each.policy_version for each in completions} == {"policy-0003"}
    assert [each.finished for each in completions] == [False, True, True, True, True]
    stamps = {(each.tokens, each.temperature, each.top_p, each.max_tokens) for each in completions}
    assert stamps == {(3, 1.0, 1.0, settings.sampling_max_tokens)}
    assert len({each.text for each in completions}) == 5


def test_another_attempt_uses_other_seeds_and_the_same_attempt_the_same() -> None:
    assert seed_of("cmp_1", "live", 1, 0) == seed_of("cmp_1", "live", 1, 0)
    assert len({seed_of("cmp_1", "live", attempt, again) for attempt in range(9) for again in range(3)}) == 27


def test_duplicates_are_asked_for_again_with_other_seeds_and_then_there_are_fewer(
    settings: WorkerSettings, api: Any
) -> None:
    api.different_texts = 3
    completions = sample(settings, wish(k=4))
    assert [request["n"] for request in api.requests] == [4, 2, 2]
    assert len({request["seed"] for request in api.requests}) == 3
    assert len({each.text for each in completions}) == len(completions) == 3


LONG = "Paris is the capital of France, and it lies on the river Seine"


@pytest.mark.parametrize(
    ("texts", "left", "similar"),
    [
        (["Yes.", "yes", "No."], ["Yes.", "No."], [None, None]),
        ([LONG + ".", LONG + "!", LONG.replace("lies", "lays"), "Lyon."], [LONG + ".", "Lyon."], [None, None]),
        (["Yes.", " yes!", "YES"], ["Yes.", " yes!"], [None, 0]),
        (["Yes.", "Yes.", " Yes. "], ["Yes."], [None]),
        (["", "  ", "Yes.", "No."], ["Yes.", "No."], [None, None]),
        ([""], [], []),
    ],
)
def test_what_nearly_repeats_is_merged_unless_too_little_would_be_left(
    settings: WorkerSettings, api: Any, texts: list[str], left: list[str], similar: list[int | None]
) -> None:
    api.texts = texts
    completions = sample(settings, wish(k=4))
    assert [each.text for each in completions] == left
    assert [each.similar_to for each in completions] == similar
    assert len(api.requests) == 3, "what is missing is asked for twice more"


def test_near_repetitions_are_replaced_by_what_comes_when_asked_again(settings: WorkerSettings, api: Any) -> None:
    api.texts = ["Yes.", "yes", "YES!", "No.", "Perhaps.", "Never."]
    assert [each.text for each in sample(settings, wish(k=4))] == ["Yes.", "No.", "Perhaps.", "Never."]
    assert [request["n"] for request in api.requests] == [4, 4]


def test_several_models_share_the_completions_in_turn(settings: WorkerSettings, api: Any) -> None:
    assert len(sample(settings, wish(k=5, models=["live", "policy-0001"]))) == 5
    assert {request["model"]: request["n"] for request in api.requests} == {"live": 3, "policy-0001": 2}


def test_a_version_that_nobody_holds_is_replaced_by_live_and_the_stamp_says_so(
    settings: WorkerSettings, api: Any
) -> None:
    api.served = {"live": "policy-0003", "policy-0002": "policy-0002"}
    before = fallbacks("version"), fallbacks("previous")
    completions = sample(settings, wish(k=6, models=["policy-0001", "policy-0002", "previous"]))
    assert Counter(each.policy_version for each in completions) == {"policy-0003": 4, "policy-0002": 2}
    assert (fallbacks("version"), fallbacks("previous")) == (before[0] + 1, before[1] + 1)
    assert len({each.seed for each in completions}) == 6


def fallbacks(model: str) -> float:
    return float(sampling_fallbacks_total.labels(alias=model)._value.get())


def test_policies_that_are_compared_answer_once_each_even_if_they_agree(settings: WorkerSettings, api: Any) -> None:
    api.served = {"policy-0002": "policy-0002", "policy-0001": "policy-0001", "live": "policy-0001"}
    api.texts = ["The same."]
    completions = sample(settings, wish(k=2, models=["policy-0002", "policy-0001"], purpose="evaluation"))
    assert [(each.policy_version, each.text) for each in completions] == [
        ("policy-0002", "The same."),
        ("policy-0001", "The same."),
    ]
    assert len(api.requests) == 2


def test_no_other_version_answers_for_a_policy_that_is_compared(settings: WorkerSettings, api: Any) -> None:
    api.served = {"policy-0002": "policy-0002", "policy-0001": "policy-0005", "live": "policy-0005"}
    with pytest.raises(UnknownModel):
        sample(settings, wish(k=2, models=["policy-0002", "policy-0009"], purpose="evaluation"))
    with pytest.raises(ServingError, match="another version"):
        sample(settings, wish(k=2, models=["policy-0002", "policy-0001"], purpose="evaluation"))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (503, Overloaded),
        (429, Overloaded),
        (403, Forbidden),
        (404, UnknownModel),
        (400, DataError),
        (500, ServingError),
    ],
)
def test_each_refusal_has_its_own_error(
    settings: WorkerSettings, api: Any, status: int, error: type[Exception]
) -> None:
    api.status = status
    with pytest.raises(error) as caught:
        sample(settings, wish())
    assert type(caught.value) is error


def test_retry_after_is_honoured_within_bounds(settings: WorkerSettings, api: Any) -> None:
    api.status = 503
    for header, expected in (("7", 7.0), ("86400", 30.0), ("soon", 2.0)):
        api.retry_after = header
        with pytest.raises(Overloaded) as caught:
            sample(settings, wish())
        assert caught.value.retry_after_s == expected


def test_an_api_that_is_not_there_is_overload_not_failure(settings: WorkerSettings) -> None:
    with pytest.raises(Overloaded, match="no answer from http"):
        sample(settings.model_copy(update={"serve_url": "http://127.0.0.1:1"}), wish())


def test_an_answer_that_is_no_completion_is_a_failure(settings: WorkerSettings, api: Any) -> None:
    api.version = None
    with pytest.raises(ServingError, match="no completion"):
        sample(settings, wish())
