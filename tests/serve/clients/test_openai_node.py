"""OpenAI's JavaScript client against the real service, driven by ``node/talk.mjs``."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from feedback import access
from tests.serve.clients.conftest import logged, whole_characters
from tests.serve.conftest import Server
from tests.serve.served import Served

HERE = Path(__file__).parent / "node"
real = [pytest.mark.vllm, pytest.mark.redis, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def node() -> None:
    """Node and the client; in CI their absence is a failure, at home a skip."""
    missing = ""
    if shutil.which("node") is None:
        missing = "node is not installed"
    elif not (HERE / "node_modules" / "openai").is_dir():
        missing = "the client is not installed; deploy/setup.sh test does it"
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


def talk(what: str, url: str, key: str) -> dict[str, Any]:
    environment = {**os.environ, "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": key}
    done = subprocess.run(
        ["node", str(HERE / "talk.mjs"), what], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


class TestAnswers:
    pytestmark = real

    def test_a_chat(self, server: Server) -> None:
        said = talk("chat", server.url, server.client_key)
        assert said["version"] == said["model"]
        reference = server.references[said["model"]]
        expected = reference.tokenizer.decode(reference.chat("hello", 24), skip_special_tokens=True)
        assert whole_characters(said["text"]) == whole_characters(expected)
        assert said["request_id"] == said["id"]
        assert logged(server, said["id"]).completion == said["text"]
        assert said["usage"]["completion_tokens"] <= 24

    def test_a_stream_says_what_a_whole_answer_says(self, server: Server) -> None:
        whole, streamed = (talk(what, server.url, server.client_key) for what in ("chat", "stream"))
        assert streamed["text"] == whole["text"]
        assert streamed["usage"].items() <= whole["usage"].items()
        assert streamed["usage"]["completion_tokens"] > 0
        assert streamed["chunks"] > 2

    def test_the_streaming_helper(self, server: Server) -> None:
        said = talk("helper", server.url, server.client_key)
        assert said["text"] == said["deltas"] == talk("chat", server.url, server.client_key)["text"]

    def test_a_batch_of_text_prompts(self, server: Server) -> None:
        said = talk("text", server.url, server.client_key)
        assert said["indices"] == [0, 1]
        assert all(said["texts"])

    def test_models(self, server: Server) -> None:
        assert "live" in talk("models", server.url, server.client_key)["ids"]

    def test_leaving_a_stream_early_harms_nobody(self, server: Server) -> None:
        assert talk("abort", server.url, server.client_key)["after"] <= 2


@pytest.mark.redis
def test_each_refusal_is_the_error_that_the_client_documents(front: Served) -> None:
    assert talk("refusals", front.url, front.keys["client"])["found"] == [
        ["AuthenticationError", 401, "invalid_api_key", None],
        ["NotFoundError", 404, "model_not_found", None],
        ["BadRequestError", 400, "invalid_value", "temperature"],
        ["BadRequestError", 400, "unsupported_parameter", "service_tier"],
    ]


@pytest.mark.redis
def test_a_key_beyond_its_rate_waits_as_it_is_told(front: Served) -> None:
    key, _ = access.create(front.ledger, "client", "quick", requests_per_minute=30)
    said = talk("patience", front.url, key)
    assert said["refused"] == ["RateLimitError", 429]
    assert 1 <= float(said["retry_after"]) <= 2
    assert said["statuses"][-1] == 200
    assert 429 in said["statuses"]
    assert said["text"] == "hello"
