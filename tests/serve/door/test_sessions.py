from starlette.datastructures import Headers
from starlette.responses import Response

from serve.door.sessions import COOKIE, MAX_COOKIE_CHARS, clear_cookie, from_cookie, set_cookie


def test_the_session_is_found_among_other_cookies() -> None:
    assert from_cookie(Headers({"cookie": f"a=b; {COOKIE}=wss-x; c=d"})) == "wss-x"
    assert from_cookie(Headers(raw=[(b"cookie", b"a=b"), (b"cookie", f"{COOKIE}=wss-x".encode())])) == "wss-x"


def test_no_cookie_no_session() -> None:
    assert from_cookie(Headers({})) is None
    assert from_cookie(Headers({"cookie": "a=b"})) is None
    assert from_cookie(Headers({"cookie": f"x={'y' * MAX_COOKIE_CHARS}; {COOKIE}=wss-x"})) is None


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    response = Response()
    set_cookie(response, "wss-x", longest_s=60.0, secure=True)
    parts = {part.strip().lower() for part in response.headers["set-cookie"].split(";")}
    assert parts == {f"{COOKIE}=wss-x", "httponly", "samesite=strict", "secure", "path=/", "max-age=60"}
    plain = Response()
    set_cookie(plain, "wss-x", longest_s=60.0, secure=False)
    assert "secure" not in plain.headers["set-cookie"].lower()


def test_a_cleared_cookie_is_gone_at_once() -> None:
    response = Response()
    clear_cookie(response, secure=False)
    assert f'{COOKIE}=""' in response.headers["set-cookie"]
    assert "max-age=0" in response.headers["set-cookie"].lower()
