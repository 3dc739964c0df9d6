"""Bounds of single fields: makers of functions that return a checked value or refuse it by name.

Pure; knows kinds of values, not which request has which field.
"""

import math
from collections.abc import Callable
from typing import Any

from serve.errors import InvalidRequest

Check = Callable[[str, Any], Any]
"""Takes a field's name and value; returns the value to go on with, or raises `InvalidRequest`."""
MAX_NAME_CHARS = 64


def integer(low: int, high: int) -> Check:
    """Return a check for integers from ``low`` to ``high``."""

    def checked(name: str, value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise wrong(name, f"must be an integer from {low} to {high}")
        return value

    return checked


def number(low: float, high: float, *, open_below: bool = False) -> Check:
    """Return a check for finite numbers from ``low`` (or above it) to ``high``; gives a float."""
    words = f"must be a number above {low}, at most {high}" if open_below else f"must be a number from {low} to {high}"

    def checked(name: str, value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high or not math.isfinite(value):
            raise wrong(name, words)
        if open_below and value <= low:
            raise wrong(name, words)
        return float(value)

    return checked


def text(shortest: int, longest: int) -> Check:
    """Return a check for texts of ``shortest`` to ``longest`` characters."""

    def checked(name: str, value: Any) -> str:
        if not isinstance(value, str) or not shortest <= len(value) <= longest:
            raise wrong(name, f"must be a text of {shortest} to {longest} characters")
        return value

    return checked


def boolean(name: str, value: Any) -> bool:
    """Return ``value`` if it is true or false."""
    if not isinstance(value, bool):
        raise wrong(name, "must be true or false")
    return value


def one_of(*allowed: str) -> Check:
    """Return a check for one of a few words."""

    def checked(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise wrong(name, f"must be one of {', '.join(allowed)}")
        return value

    return checked


def mapping(name: str, value: Any, *, only: tuple[str, ...] = (), most: int | None = None) -> dict[str, Any]:
    """Return ``value`` if it is an object of the names in ``only`` (if any), with at most ``most`` of them."""
    if not isinstance(value, dict):
        raise wrong(name, "must be an object")
    if only and (unknown := next((key for key in value if key not in only), None)) is not None:
        raise unsupported(f"{name}.{short(unknown)}")
    if most is not None and len(value) > most:
        raise wrong(name, f"must have at most {most} entries")
    return value


def short(name: str) -> str:
    """Return a caller's name for something, cut to what an answer may repeat."""
    return name if len(name) <= MAX_NAME_CHARS else f"{name[: MAX_NAME_CHARS - 3]}..."


def unsupported(name: str, why: str = "is not supported here") -> InvalidRequest:
    """Return the refusal of a field that nobody here knows, or that is switched off."""
    return wrong(name, why, "unsupported_parameter")


def wrong(name: str, what: str, code: str = "invalid_value") -> InvalidRequest:
    """Return the refusal of a field."""
    return InvalidRequest(f"{name} {what}", param=name, code=code)
