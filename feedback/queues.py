"""Queues of comparisons by name: what goes into each, what is asked of labelers, who may take from it.

Pure rules over `QueueConfig`, and the few that operators changed, in the ledger. Knows no items and no leases.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from feedback import keys
from feedback.client import Ledger, encode
from feedback.errors import InvalidRecord, NotFound
from feedback.records import Prompt, Purpose, QueueConfig

DEMONSTRATION = "demonstration"
"""Name of the queue of requests for demonstrations, which are no comparisons: nothing is routed to it."""
BUILT_IN: Mapping[str, QueueConfig] = {
    "training": QueueConfig(name="training", gold_percent=5, repeat_percent=2),
    "agreement": QueueConfig(name="agreement", purpose="agreement", overlap=4, disagreement_percent=0),
    "evaluation": QueueConfig(
        name="evaluation", purpose="evaluation", k=2, overlap=3, random_percent=0, disagreement_percent=0
    ),
}
"""Those that are there before an operator said anything."""
REQUESTS = QueueConfig(name=DEMONSTRATION, random_percent=0, disagreement_percent=0)
"""What holds for requests for demonstrations unless an operator said otherwise: caps, goal, needs, times; no draws."""
RESERVED = ("checks",)


def configs(ledger: Ledger) -> dict[str, QueueConfig]:
    """Return all queues of comparisons by name: the built-in ones as operators changed them, and those they added."""
    changed = {config.name: config for config in ledger.hall(keys.QUEUES, QueueConfig) if config.name != DEMONSTRATION}
    return {**BUILT_IN, **changed}


def get(ledger: Ledger, name: str) -> QueueConfig:
    """Return one queue, that of requests for demonstrations included.

    Raises:
        NotFound: no such queue.
    """
    found = (
        ledger.hget(keys.QUEUES, name, QueueConfig)
        or BUILT_IN.get(name)
        or (REQUESTS if name == DEMONSTRATION else None)
    )
    if found is None:
        raise NotFound(f"no queue {name!r}")
    return found


def put(ledger: Ledger, name: str, **settings: object) -> QueueConfig:
    """Change a queue, or add one, and return it; items that are in it already keep their slots.

    Raises:
        InvalidRecord: the name is reserved, the purpose of a built-in queue would change, the shares of the draws come
            to more than everything, there is no model to sample from, or a setting is unknown or out of bounds.
    """
    try:
        present = get(ledger, name)
    except NotFound:
        present = QueueConfig(name=name)
    config = changed(present, **settings)
    check(config)
    with ledger.reach() as client:
        client.hset(keys.QUEUES, name, encode(config))
    return config


def check(config: QueueConfig) -> None:
    """Check that a queue makes sense.

    Raises:
        InvalidRecord: see `put`.
    """
    if config.name in RESERVED:
        raise InvalidRecord(f"name: {config.name!r} is reserved; choose another")
    known = BUILT_IN.get(config.name)
    if known is not None and known.purpose != config.purpose:
        raise InvalidRecord(f"purpose: {config.name!r} is for {known.purpose}; add another queue for {config.purpose}")
    if config.random_percent + config.disagreement_percent > 100:
        raise InvalidRecord("random_percent: with disagreement_percent it is more than 100")
    if not config.models:
        raise InvalidRecord("models: name at least one")


def route(prompt: Prompt, purpose: Purpose, found: Mapping[str, QueueConfig]) -> QueueConfig:
    """Return the queue that a prompt goes to: the one for this purpose that asks for its language and its use case.

    The most particular one wins, then the first by name; without any, the built-in one of the purpose takes all.
    Gold checks and repeats go the way of training.
    """
    wanted = purpose if purpose in BUILT_IN else "training"
    fitting = [each for each in found.values() if each.purpose == wanted and _takes(each, prompt)]
    if not fitting:
        return found.get(wanted, BUILT_IN[wanted])
    return min(fitting, key=lambda each: (-_particular(each), each.name != wanted, each.name))


def overlap(config: QueueConfig, item_id: str) -> int:
    """Return how many labelers answer one item: more for the share drawn for it, by a hash of the id."""
    return config.overlap + config.extra_overlap * _drawn(config.name, item_id, config.extra_overlap_percent)


def may_take(config: QueueConfig, skills: Iterable[str]) -> bool:
    """Tell whether a labeler with these skills may be given items of a queue."""
    return set(config.needs) <= set(skills)


def lease_of(config: QueueConfig, check: float, pick: float) -> tuple[bool, str]:
    """Return whether a lease is to be a check, and how else its item is drawn.

    Args:
        config: the queue's.
        check: a uniform draw in [0, 1).
        pick: another.
    """
    checks = (config.gold_percent + config.repeat_percent) / 100
    if pick < config.random_percent / 100:
        return check < checks, "random"
    if pick < (config.random_percent + config.disagreement_percent) / 100:
        return check < checks, "disagreement"
    return check < checks, ""


def changed(config: QueueConfig, **fields: object) -> QueueConfig:
    """Return the queue with other settings.

    Raises:
        InvalidRecord: a setting is unknown or out of bounds.
    """
    try:
        return msgspec.convert({**msgspec.structs.asdict(config), **fields}, QueueConfig)
    except msgspec.ValidationError as error:
        raise InvalidRecord(str(error)) from error


def _takes(config: QueueConfig, prompt: Prompt) -> bool:
    language = not config.languages or prompt.language in config.languages
    return language and (not config.use_cases or prompt.use_case in config.use_cases)


def _particular(config: QueueConfig) -> int:
    return bool(config.languages) + bool(config.use_cases)


def _drawn(queue: str, item_id: str, percent: int) -> bool:
    place = int.from_bytes(hashlib.sha256(f"overlap:{queue}:{item_id}".encode()).digest()[:8])
    return place < percent / 100 * 2**64
