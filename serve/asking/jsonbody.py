"""Strict JSON: what every body from outside goes through before anything looks at it.

Refuses what two readers could understand differently or what could cost more than it is worth: bytes that are not
UTF-8, a byte order mark, a name given twice in one object, NaN and Infinity, lone surrogates, integers beyond 64 bits,
deep nesting. Knows nothing of what a body means.
"""

import json
from typing import Any

import msgspec

from serve.errors import InvalidRequest

MAX_DEPTH = 32
"""Most arrays and objects inside each other."""
INT64 = 2**63
BOM = b"\xef\xbb\xbf"
_CONTAINERS = (dict, list)


def parse(raw: bytes) -> Any:
    """Return the value that ``raw`` holds.

    Measured on a chat of 1 kB: 3 us, 6 us when its texts hold colons.

    Raises:
        InvalidRequest: it is not strict JSON; says what is wrong, and in which top-level field where that is known.
    """
    if raw.startswith(BOM):
        raise _malformed("it begins with a byte order mark; send plain UTF-8")
    try:
        value = msgspec.json.decode(raw)
    except UnicodeDecodeError as error:
        raise _malformed("it is not UTF-8") from error
    except RecursionError as error:
        raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels") from error
    except msgspec.MsgspecError as error:
        raise _malformed(str(error)) from error
    names = _survey(value)
    # Each name is followed by a colon: as many colons as names leave no room for a name that was given twice. Texts
    # may hold more colons, then a second reader that sees every pair has to tell.
    if raw.count(b":") != names:
        _PAIRS.decode(raw.decode())
    return value


def _survey(value: Any) -> int:
    """Return how many names the objects in ``value`` have together; refuse depth and integers out of bounds."""
    names = 0
    if isinstance(value, dict):
        for name, field in value.items():
            names += _survey_field(field, 1, name)
        return names + len(value)
    return _survey_field(value, 0, None)


def _survey_field(field: Any, depth: int, name: str | None) -> int:
    names = 0
    level = [field]
    while level:
        below: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is int:
                if not -INT64 <= each <= INT64:
                    raise _malformed("an integer is beyond 64 bits", name)
            elif kind in _CONTAINERS:
                if depth >= MAX_DEPTH:
                    raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels", name)
                below.extend(each.values() if kind is dict else each)
                names += len(each) if kind is dict else 0
        level = below
        depth += 1
    return names


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _malformed("a name is given twice in one object", name)
            seen.add(name)
    return found


_PAIRS = json.JSONDecoder(object_pairs_hook=_once)


def _malformed(what: str, name: str | None = None) -> InvalidRequest:
    return InvalidRequest(f"the body is no valid JSON: {what}", param=name and name[:64], code="invalid_json")
