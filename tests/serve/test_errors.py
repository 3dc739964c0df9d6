"""Every error of ours has an answer: a status, an envelope, and no word about our insides."""

import inspect
import json

import pytest

from feedback import errors
from serve.errors import TABLE, InvalidRequest, Refused, envelope, server_error, to_response

SECRET = "redis://:sesame@10.1.2.3:6379 /srv/data"


def body_of(error: errors.WhetstoneError) -> dict[str, object]:
    found: dict[str, object] = json.loads(bytes(to_response(error).body))["error"]
    return found


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidKey("no"), 401, "invalid_api_key"),
        (errors.Forbidden("no"), 403, "forbidden"),
        (errors.Paused("no"), 403, "paused"),
        (errors.MustAcknowledge("no"), 409, "must_acknowledge"),
        (errors.MustPractise("no"), 409, "must_practise"),
        (errors.InvalidRecord("no"), 400, "invalid_request"),
        (errors.UnknownModel("no"), 404, "model_not_found"),
        (errors.NotFound("no"), 404, "not_found"),
        (errors.LeaseLost("no"), 409, "lease_lost"),
        (errors.Conflict("no"), 409, "conflict"),
        (Refused("no", ["FAIL kl"]), 409, "gate_refused"),
        (errors.LedgerUnavailable("no"), 503, "ledger_unavailable"),
        (errors.Overloaded("no"), 503, "overloaded"),
        (errors.EngineError("no"), 503, "engine_unavailable"),
        (InvalidRequest("no", "top_p", "unsupported_parameter"), 400, "unsupported_parameter"),
        (InvalidRequest("no", None, "body_too_large", 413), 413, "body_too_large"),
    ],
)
def test_an_error_has_its_status_and_code(error: errors.WhetstoneError, status: int, code: str) -> None:
    assert to_response(error).status_code == status
    assert body_of(error)["code"] == code


def test_the_envelope_is_openais() -> None:
    assert set(envelope("m", "t", "c")["error"]) == {"message", "type", "param", "code"}
    assert set(body_of(errors.NotFound("no"))) == {"message", "type", "param", "code"}


def test_the_first_fitting_row_is_the_most_specific() -> None:
    kinds = [answer.kind for answer in TABLE]
    for place, kind in enumerate(kinds):
        for earlier in kinds[:place]:
            assert not issubclass(kind, earlier), f"{kind.__name__} is hidden by {earlier.__name__}"


@pytest.mark.parametrize("kind", [errors.LedgerUnavailable, errors.EngineError, errors.SwapFailed])
def test_hosts_and_paths_of_ours_are_not_told(kind: type[errors.WhetstoneError]) -> None:
    text = bytes(to_response(kind(SECRET)).body).decode()
    assert "sesame" not in text
    assert "/srv" not in text


def test_what_no_caller_can_cause_is_a_bare_500() -> None:
    response = to_response(errors.ArtifactCorrupt(SECRET))
    assert response.status_code == 500
    assert response.body == server_error().body


def test_a_caller_is_told_when_to_come_back_and_how_to_authenticate() -> None:
    assert to_response(errors.Overloaded("full", retry_after_s=2.1)).headers["Retry-After"] == "3"
    assert int(to_response(errors.LedgerUnavailable("no")).headers["Retry-After"]) >= 1
    assert to_response(errors.InvalidKey("no")).headers["WWW-Authenticate"] == "Bearer"


def test_a_refused_promotion_carries_the_gates_reasons() -> None:
    assert body_of(Refused("no", ["FAIL kl_nats 40"]))["reasons"] == ["FAIL kl_nats 40"]


def test_no_error_of_the_tree_is_left_without_an_answer() -> None:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.WhetstoneError):
            assert 400 <= to_response(kind("no")).status_code < 600
