import asyncio
from typing import Any

import pytest

from feedback.errors import DataError, Forbidden, InvalidRecord, Overloaded, ServingError, UnknownModel
from feedback.records import Comparison, Completion, Message, utc_now
from workers.sampling import Sampler, fit, seed_of
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
            return await sampler.sample(comparison, attempt)

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
    assert {each.tokens for each in completions} == {3}
    assert len({each.text for each in completions}) == 5


def test_another_attempt_uses_other_seeds_and_the_same_attempt_the_same() -> None:
    assert seed_of("cmp_1", "live", 1, 0) == seed_of("cmp_1", "live", 1, 0)
    assert len({seed_of("cmp_1", "live", attempt, again) for attempt in range(9) for again in range(3)}) == 27


def test_duplicates_are_asked_for_again_and_then_k_is_made_smaller(settings: WorkerSettings, api: Any) -> None:
    api.different_texts = 3
    comparison = wish(k=4)
    completions = sample(settings, comparison)
    assert [request["n"] for request in api.requests] == [4, 2, 2]
    assert len({each.text for each in completions}) == len(completions) == 3
    assert fit(comparison, completions).k == 3


def test_a_prompt_that_always_gets_the_same_answer_gives_nothing_to_rank(settings: WorkerSettings, api: Any) -> None:
    api.different_texts = 1
    comparison = wish(k=4)
    with pytest.raises(InvalidRecord, match="nothing to rank"):
        fit(comparison, sample(settings, comparison))


def test_several_models_share_the_completions_in_turn(settings: WorkerSettings, api: Any) -> None:
    assert len(sample(settings, wish(k=5, models=["live", "policy-0001"]))) == 5
    assert {request["model"]: request["n"] for request in api.requests} == {"live": 3, "policy-0001": 2}


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
