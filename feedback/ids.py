"""Typed, time-ordered ids: a short prefix that names the record, then a UUIDv7.

Knows nothing of what the ids point to.
"""

import re

import uuid_utils

POLICY_VERSION = re.compile(r"policy-[0-9]{4,}")


def new_id(prefix: str) -> str:
    """Return a fresh id such as ``int_0190f5c2...``; later ids sort after earlier ones.

    Args:
        prefix: three to four lower-case letters that name the kind of record.
    """
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def made_at_s(id: str) -> float | None:
    """Return when an id of ours was made, unix seconds, or None if it does not tell."""
    found = re.search(r"(?:^|[_-])([0-9a-f]{12})7[0-9a-f]{19}$", id)
    return int(found[1], 16) / 1000 if found else None


def policy_version(number: int) -> str:
    """Return the name of the policy with this number, ``policy-0007``; numbers are never reused."""
    return f"policy-{number:04d}"


def is_policy_version(name: str) -> bool:
    """Tell whether ``name`` is an immutable policy version rather than an alias."""
    return bool(POLICY_VERSION.fullmatch(name))
