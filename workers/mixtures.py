"""Which models the completions of a comparison come from.

A comparison names aliases or versions, and ``sft`` for the newest supervised policy that is or was live. Knows the
registry; whether a replica holds a version is found out by asking for it.
"""

from collections import Counter

from feedback import policies, promotion
from feedback.client import Ledger

LIVE = "live"
SFT = "sft"


def shared_out(models: list[str], k: int) -> Counter[str]:
    """Return how many of ``k`` completions each model gives: in turn, so one named twice gives twice as many."""
    return Counter(models[place % len(models)] for place in range(k))


def newest_sft(ledger: Ledger) -> str:
    """Return the newest supervised policy that was ever made live; ``live`` if there is none."""
    served = promotion.promoted_at(ledger)
    found = [each.version for each in policies.list_policies(ledger) if each.kind == "sft" and each.version in served]
    return found[-1] if found else LIVE


def resolved(models: list[str], sft: str) -> list[str]:
    """Return the models with ``sft`` replaced by the version that it stands for now."""
    return [sft if model == SFT else model for model in models]


def kind_of(model: str) -> str:
    """Return a word for a model that is one of few: an alias as it is, ``version`` for any version."""
    return model if model in policies.ALIAS_NAMES else "version"
