"""What labelers are asked for, and which prompts still wait to be considered for it.

Keeps the wish of the operator and the lists of waiting prompts; how many items to open at a time is decided by the
planner.
"""

from typing import Literal, cast, get_args

from feedback import keys
from feedback.client import Ledger, decode
from feedback.errors import ConfigError
from feedback.records import Prompt

Collect = Literal["demonstrations", "comparisons", "both"]
What = Literal["comparison", "demonstration"]
FIELD = "collect"


def collected(ledger: Ledger) -> Collect:
    """Return what prompts are turned into at present; ``both`` unless an operator said otherwise."""
    with ledger.reach() as client:
        return cast(Collect, client.hget(keys.SETTINGS, FIELD) or "both")


def collect(ledger: Ledger, what: str) -> None:
    """Ask for ``demonstrations``, ``comparisons`` or ``both`` from now on; prompts not wanted now wait.

    Raises:
        ConfigError: ``what`` is none of these.
    """
    if what not in get_args(Collect):
        raise ConfigError(f"cannot collect {what!r}; choose one of {', '.join(get_args(Collect))}")
    with ledger.reach() as client:
        client.hset(keys.SETTINGS, FIELD, what)


def wants(ledger: Ledger, what: What) -> bool:
    """Tell whether comparisons, or demonstrations, are being collected."""
    return collected(ledger) in ("both", f"{what}s")


def wanting(ledger: Ledger, what: What, most: int) -> list[Prompt]:
    """Return the longest-waiting prompts that were not yet considered for ``what``, at most ``most``."""
    if most <= 0:
        return []
    with ledger.reach() as client:
        ids = cast(list[str], client.zrange(keys.wanting(what), 0, most - 1))
        texts = cast(list[str | None], client.hmget(keys.PROMPTS, ids)) if ids else []
    return [decode(text, Prompt) for text in texts if text is not None]


def considered(ledger: Ledger, what: What, prompt_ids: list[str]) -> None:
    """Take prompts off the list for ``what``, once they were given an item or passed over for good."""
    if prompt_ids:
        with ledger.reach() as client:
            client.zrem(keys.wanting(what), *prompt_ids)


def backlog(ledger: Ledger, what: What) -> int:
    """Return how many prompts wait to be considered for ``what``."""
    with ledger.reach() as client:
        return int(client.zcard(keys.wanting(what)))
