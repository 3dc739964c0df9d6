"""OpenAI's Python client and our refusals: each is the exception that it documents, and it asks again when told to."""

import threading
from typing import Any

import openai
import pytest
from openai import DefaultHttpxClient, OpenAI

from feedback import access
from tests.serve.clients.conftest import Held
from tests.serve.served import Served

pytestmark = pytest.mark.redis
HELLO: Any = {"model": "live", "messages": [{"role": "user", "content": "hello"}]}


def client(front: Served, key: str = "", **options: Any) -> OpenAI:
    options = {"max_retries": 0, "timeout": 30.0, **options}
    return OpenAI(base_url=f"{front.url}/v1", api_key=key or front.keys["client"], **options)


def test_a_wrong_key(front: Served) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client(front, "ws-wrong").chat.completions.create(**HELLO)
    assert caught.value.code == "invalid_api_key"


def test_a_key_of_another_role(front: Served) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client(front, front.keys["labeler"]).chat.completions.create(**HELLO)
    assert caught.value.code == "forbidden"


def test_an_unknown_model(front: Served) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client(front).chat.completions.create(**{**HELLO, "model": "gpt-4"})
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id


def test_a_field_out_of_bounds(front: Served) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client(front).chat.completions.create(**HELLO, temperature=9)
    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_value")
    assert caught.value.type == "invalid_request_error"


def test_what_is_not_supported_is_named(front: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="prediction") as caught:
        client(front).chat.completions.create(**HELLO, prediction={"type": "content", "content": "x"})
    assert (caught.value.param, caught.value.code) == ("prediction", "unsupported_parameter")


def test_a_path_that_is_not_there(front: Served) -> None:
    with pytest.raises(openai.NotFoundError):
        client(front).embeddings.create(model="live", input="x", encoding_format="float")


def test_a_passed_deadline(front: Served, held: Held) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client(front).chat.completions.create(**HELLO, extra_headers={"X-Deadline-S": "0.2"})
    assert (caught.value.status_code, caught.value.code) == (504, "deadline_passed")


def test_a_full_service_is_asked_again_after_the_time_it_names(front: Served, held: Held) -> None:
    other, _ = access.create(front.ledger, "client", "other")
    first = threading.Thread(target=client(front, other).chat.completions.create, kwargs=HELLO)
    first.start()
    assert held.waits.wait(20)
    refusals = []

    def see(response: Any) -> None:
        if response.status_code == 503:
            refusals.append(response)
            held.let_go()
            first.join(20)

    with DefaultHttpxClient(event_hooks={"response": [see]}) as watched:
        raw = client(front, max_retries=2, http_client=watched).chat.completions.with_raw_response.create(**HELLO)
    assert len(refusals) == raw.retries_taken == 1
    assert float(refusals[0].headers["retry-after"]) >= 1
    assert raw.parse().choices[0].message.content == "hello"


def test_without_retries_a_full_service_is_an_exception(front: Served, held: Held) -> None:
    other, _ = access.create(front.ledger, "client", "other")
    first = threading.Thread(target=client(front, other).chat.completions.create, kwargs=HELLO)
    first.start()
    assert held.waits.wait(20)
    with pytest.raises(openai.InternalServerError) as caught:
        client(front).chat.completions.create(**HELLO)
    assert (caught.value.status_code, caught.value.code) == (503, "overloaded")
    held.let_go()
    first.join(20)
    assert not first.is_alive()


def test_a_key_beyond_its_rate_waits_as_it_is_told(front: Served) -> None:
    key, _ = access.create(front.ledger, "client", "quick", requests_per_minute=30)
    asking = client(front, key)
    for _ in range(30):
        asking.chat.completions.create(**HELLO)
    with pytest.raises(openai.RateLimitError) as caught:
        asking.chat.completions.create(**HELLO)
    assert caught.value.code == "rate_limit_exceeded"
    wait_s = float(caught.value.response.headers["retry-after"])
    assert 1 <= wait_s <= 2
    raw = client(front, key, max_retries=2).chat.completions.with_raw_response.create(**HELLO)
    assert raw.retries_taken >= 1
    assert raw.parse().choices[0].message.content == "hello"
