from typing import Any

import pytest

from serve.door.heads import MAX_QUERY_BYTES, names, refusal

LIMIT = 1000


def scope(path: str = "/v1/feedback", query: bytes = b"", **headers: str | None) -> dict[str, Any]:
    sent = {"host": "here", "content_type": "application/json", "content_length": "2", **headers}
    raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in sent.items() if text is not None]
    return {"type": "http", "method": "POST", "path": path, "query_string": query, "headers": raw}


def status(found: dict[str, Any], *allowed: str) -> int:
    refused = refusal(found, LIMIT, allowed)
    return 0 if refused is None else refused.status


@pytest.mark.parametrize(
    "host", ["here", "here:8000", "a-b.example.com.", "my_service:80", "127.0.0.1:1", "[::1]", "[::1]:8000", "A.B"]
)
def test_a_well_formed_host_passes(host: str) -> None:
    assert status(scope(host=host)) == 0


@pytest.mark.parametrize(
    "host", [None, "", "x/?", "x/#", "a b", "a@b", "a:b", "a:123456", "-a", "[::1", "é", "a" * 300]
)
def test_any_other_host_is_refused(host: str | None) -> None:
    assert status(scope(host=host)) == 400


def test_two_hosts_are_refused() -> None:
    doubled = scope()
    doubled["headers"].append((b"host", b"here"))
    assert status(doubled) == 400


def test_a_list_of_hosts_shuts_all_others_out() -> None:
    allowed = names(" api.example.com, LOCALHOST ,")
    assert allowed == ("api.example.com", "localhost")
    assert status(scope(host="API.example.com.:443"), *allowed) == 0
    assert status(scope(host="localhost:8000"), *allowed) == 0
    assert status(scope(host="evil.example.com"), *allowed) == 400


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"content_type": "application/json; charset=utf-8"}, 0),
        ({"content_type": "Application/JSON"}, 0),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_type": None}, 415),
        ({"content_type": None, "content_length": None, "transfer_encoding": "chunked"}, 415),
        ({"content_type": None, "content_length": None}, 0),
        ({"content_type": None, "content_length": "0"}, 0),
        ({"content_encoding": "gzip"}, 415),
        ({"content_encoding": "identity"}, 0),
        ({"content_length": str(LIMIT)}, 0),
        ({"content_length": str(LIMIT + 1)}, 413),
        ({"content_length": "9" * 5000}, 413),
        ({"content_length": "-1"}, 400),
        ({"content_length": "²"}, 400),
    ],
)
def test_what_the_head_says_of_the_body_decides_before_it_is_read(headers: dict[str, Any], expected: int) -> None:
    assert status(scope(**headers)) == expected


def test_outside_the_api_a_body_may_be_anything() -> None:
    assert status(scope("/playground", content_type="text/plain")) == 0


def test_a_long_query_is_refused() -> None:
    assert status(scope(query=b"x" * MAX_QUERY_BYTES)) == 0
    assert status(scope(query=b"x" * (MAX_QUERY_BYTES + 1))) == 414


@pytest.mark.parametrize("path", ["/v1/models\n", "/v1/models\x00", "/v1/mod\x7fels", "\t"])
def test_a_path_with_a_control_character_is_refused(path: str) -> None:
    assert status(scope(path)) == 400
