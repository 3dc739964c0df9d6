"""Sign-in, who, sign-out: over HTTP, with the cookie jar of a browser."""

from typing import Any

import pytest

from feedback import access
from serve.door.sessions import COOKIE
from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
PATH = "/v1/sessions"
ORIGIN = {"Origin": "http://testserver"}


def sign_in(world: World, role: str = "client") -> dict[str, Any]:
    answer = world.client.post(PATH, json={"key": world.secret(role)}, headers=ORIGIN)
    assert answer.status_code == 201
    found: dict[str, Any] = answer.json()
    return found


def test_a_key_opens_a_session_that_the_api_takes(world: World) -> None:
    opened = sign_in(world)
    assert (opened["owner"], opened["role"]) == ("ada", "client")
    assert world.client.get(PATH).json() == opened
    assert world.client.get("/v1/keys").status_code == 200
    key = world.client.get("/v1/keys").json()[0]["id"]
    assert world.client.post(f"/v1/keys/{key}/revoke", headers=ORIGIN).status_code == 403
    headers = {**ORIGIN, "X-CSRF-Token": opened["csrf_token"]}
    assert world.client.post(f"/v1/keys/{key}/revoke", headers=headers).status_code == 200
    assert world.client.get(PATH).status_code == 401, "the session went with its key"


def test_the_answer_holds_no_key_and_is_not_stored(world: World) -> None:
    answer = world.client.post(PATH, json={"key": world.secret("client")})
    assert world.secret("client") not in answer.text
    assert world.client.cookies[COOKIE] not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "secure" not in answer.headers["set-cookie"].lower()


def test_each_sign_in_makes_a_new_session_and_ends_the_one_before(world: World) -> None:
    world.client.cookies.set(COOKIE, "wss-" + "a" * 43)  # as an attacker would fix it
    assert world.client.get(PATH).status_code == 401
    world.client.cookies.clear()
    sign_in(world)
    first = world.client.cookies[COOKIE]
    sign_in(world)
    assert world.client.cookies[COOKIE] != first
    world.client.cookies.clear()
    world.client.cookies.set(COOKIE, first)
    assert world.client.get(PATH).status_code == 401


def test_sign_out_ends_the_session_for_whoever_kept_the_cookie(world: World) -> None:
    opened = sign_in(world)
    kept = world.client.cookies[COOKIE]
    assert world.client.delete(PATH, headers=ORIGIN).status_code == 403
    assert world.client.delete(PATH, headers={"X-CSRF-Token": opened["csrf_token"]}).status_code == 403
    answer = world.client.delete(PATH, headers={**ORIGIN, "X-CSRF-Token": opened["csrf_token"]})
    assert answer.status_code == 204
    assert COOKIE not in world.client.cookies
    world.client.cookies.set(COOKIE, kept)
    assert world.client.get(PATH).status_code == 401
    assert not world.ledger.redis.keys("ws:session:*")


@pytest.mark.parametrize(
    "body", [{}, {"key": ""}, {"key": "x" * 100_000}, {"key": 1}, {"key": "x", "role": "operator"}]
)
def test_a_body_that_is_no_key_is_refused_before_anything_is_hashed(world: World, body: dict[str, Any]) -> None:
    assert world.client.post(PATH, json=body).status_code == 400


def test_only_usable_keys_of_people_open_a_session(world: World) -> None:
    revoked, key = access.create(world.ledger, "client", "acme")
    access.revoke(world.ledger, key.id)
    assert world.client.post(PATH, json={"key": revoked}).status_code == 401
    assert world.client.post(PATH, json={"key": world.secret("client")[:-1] + "_"}).status_code == 401
    assert world.client.post(PATH, json={"key": world.secret("metrics")}).status_code == 403
    assert not world.client.cookies


def test_another_sites_page_cannot_sign_anybody_in(world: World) -> None:
    answer = world.client.post(PATH, json={"key": world.secret("client")}, headers={"Origin": "http://evil.test"})
    assert answer.status_code == 403
    assert not world.client.cookies


def test_a_bearer_key_is_no_session(world: World) -> None:
    assert world.call("GET", PATH, role="client").status_code == 401
