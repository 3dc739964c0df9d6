"""Requests made from the OpenAPI document, sound and unsound, by every role: no answer that the document does not name.

The engine behind the real socket is a fake that echoes; everything else is the real application.
"""

import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from feedback.client import Ledger
from tests.conftest import RedisServer
from tests.serve.served import Served, served

pytestmark = pytest.mark.redis
CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
CALLERS = ("anonymous", "client", "labeler", "operator", "metrics")
EXAMPLES = 12
"""Requests for each operation and caller."""
LONGEST_S = 45.0
"""For one caller; beyond this the remaining operations would go untried, which fails the test."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own, because one for each test would cost more than the requests."""
    root = tmp_path_factory.mktemp("fuzz")
    redis = RedisServer(root / "redis")
    redis.start()
    with served(Ledger(redis.url), root, wrong_keys_per_minute=10**6) as found:
        yield found
    redis.kill()


@pytest.mark.parametrize("caller", CALLERS)
def test_no_answer_is_a_surprise(site: Served, caller: str) -> None:
    document = requests.get(f"{site.url}/openapi.json", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document)
    session = requests.Session()
    statuses: Counter[int] = Counter()
    tried = 0
    until = time.monotonic() + LONGEST_S

    def ask(case: Case) -> None:
        # what a client of the wire cannot send, requests refuses to; that is no answer of ours
        headers = {"Authorization": f"Bearer {site.keys[caller]}"} if caller in site.keys else {"Authorization": ""}
        try:
            answer = case.call(base_url=site.url, session=session, headers=headers, timeout=20)
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
            return
        statuses[answer.status_code] += 1
        judge(case, answer)

    for operation in schema.get_all_operations():
        found = operation.ok()
        assert time.monotonic() < until, f"only {tried} operations in {LONGEST_S:g} s"
        tried += 1
        sound = found.as_strategy(GenerationMode.POSITIVE)
        modes = st.one_of(sound, found.as_strategy(GenerationMode.NEGATIVE)) if takes_input(found) else sound
        run = given(case=modes)(lambda case: ask(case))
        checks = list(HealthCheck)
        run = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=checks)(run)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seed(20261121)(run)()
    assert tried == sum(len(methods) for methods in document["paths"].values())
    assert sum(statuses.values()) > 2 * tried
    if caller == "operator":
        assert statuses[200] > 20
        assert statuses[400] > 20


def takes_input(operation: Any) -> bool:
    return bool(operation.body) or any(True for _ in operation.iter_parameters())


def judge(case: Case, answer: Any) -> None:
    """Hold an answer against the document; of 5xx only those that say what cannot be had, and when to ask again."""
    assert answer.headers["x-request-id"]
    if answer.status_code >= 500:
        assert answer.status_code in (503, 504), (case.method, case.path, answer.text)
        assert answer.headers["retry-after"]
    if answer.status_code >= 400:
        error = json.loads(answer.content)["error"]
        assert error["code"] not in ("internal", None)
        assert "Traceback" not in error["message"]
        assert " at 0x" not in error["message"]
    case.validate_response(answer, checks=CHECKS)
