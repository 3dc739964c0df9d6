"""What the head of a request must look like before anybody reads its body or asks who sends it.

Pure rules over an ASGI scope; routes and keys are others' business.
"""

import re

from starlette.datastructures import Headers
from starlette.types import Scope

from serve.errors import InvalidRequest

HOST = re.compile(
    r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?)(:[0-9]{1,5})?", re.ASCII
)
MAX_QUERY_BYTES = 8 << 10
JSON_PREFIX = "/v1/"
"""Below this every body is JSON."""


def refusal(scope: Scope, max_body_bytes: int, allowed_hosts: tuple[str, ...] = ()) -> InvalidRequest | None:
    """Return why a request is refused by its head alone, or None.

    Args:
        scope: of an HTTP request.
        max_body_bytes: a body that says it is larger is refused unread.
        allowed_hosts: names that the header Host may have; empty for any.
    """
    headers = Headers(scope=scope)
    return (
        _host(headers.getlist("host"), allowed_hosts)
        or _path(scope["path"])
        or _query(scope["query_string"])
        or _length(headers, max_body_bytes)
        or _content(scope["path"], headers)
    )


def names(setting: str) -> tuple[str, ...]:
    """Return the host names of a comma-separated setting, in lower case."""
    return tuple(name.strip().lower() for name in setting.split(",") if name.strip())


def _host(found: list[str], allowed: tuple[str, ...]) -> InvalidRequest | None:
    given = HOST.fullmatch(found[0]) if len(found) == 1 else None
    if given is None:
        return InvalidRequest("send exactly one header Host that names this server", "Host", "invalid_host")
    if allowed and given["name"].lower().rstrip(".") not in allowed:
        return InvalidRequest("this server does not answer under that host name", "Host", "unknown_host")
    return None


def _path(path: str) -> InvalidRequest | None:
    # a router whose patterns end in $ takes a path with a line end behind it for the path without
    if any(character < " " or character == "\x7f" for character in path):
        return InvalidRequest("the path holds a control character", None, "malformed_path")
    return None


def _query(query: bytes) -> InvalidRequest | None:
    if len(query) > MAX_QUERY_BYTES:
        return InvalidRequest(f"the query is longer than {MAX_QUERY_BYTES} bytes", None, "query_too_long", 414)
    return None


def _length(headers: Headers, max_body_bytes: int) -> InvalidRequest | None:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return InvalidRequest("the header Content-Length is no number", "Content-Length", "invalid_length")
    return too_large(max_body_bytes) if len(length) > 18 or int(length) > max_body_bytes else None


def too_large(max_body_bytes: int) -> InvalidRequest:
    """Return the refusal of a body that is too large."""
    return InvalidRequest(f"the body is larger than {max_body_bytes} bytes", None, "body_too_large", 413)


def _content(path: str, headers: Headers) -> InvalidRequest | None:
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        return InvalidRequest(
            "send the body as it is; compressed bodies are not read", None, "unsupported_encoding", 415
        )
    has_body = headers.get("content-length", "0").strip("0") or "transfer-encoding" in headers
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and path.startswith(JSON_PREFIX) and media != "application/json":
        return InvalidRequest("send the body as `Content-Type: application/json`", None, "unsupported_media", 415)
    return None
