"""Which waiting prompts become comparisons and requests for demonstrations.

The wish is derived from the pool: a prompt waits in the ledger until it was considered, so planning may stop anywhere,
be repeated, and be done by several workers at once, without losing or doubling an item. Validation prompts become
comparisons for measuring agreement, which several labelers of both groups rank; no reward model trains on them. What
a comparison is made of (K, models, how many labelers) is said by the queue that its prompt is routed to.
"""

import hashlib

from feedback import collection, comparisons, contest_results, contests, demonstrations, leases, queues
from feedback.client import Ledger
from feedback.records import Prompt, Purpose
from workers.settings import WorkerSettings

BATCH = 200
"""Prompts considered per call, so that a call ends in about a second."""


def chosen(prompt_id: str, purpose: str, share: float) -> bool:
    """Tell whether a prompt is in the ``share`` that gets an item of this purpose; always the same answer."""
    place = int.from_bytes(hashlib.sha256(f"{purpose}:{prompt_id}".encode()).digest()[:8])
    return place < share * 2**64


def comparison_id(prompt: Prompt) -> str:
    """Return the id of the one training comparison that a prompt gets."""
    return f"cmp_{prompt.id.removeprefix('pro_')}"


def plan_comparisons(ledger: Ledger, settings: WorkerSettings) -> int:
    """Plan comparisons for waiting prompts, as many as there is room for; return how many."""
    if not collection.wants(ledger, "comparison"):
        return 0
    configs = queues.configs(ledger)
    waiting_now = sum(leases.waiting(ledger, name) for name in configs)
    room = settings.max_open_comparisons - comparisons.being_sampled(ledger) - waiting_now
    waiting = collection.wanting(ledger, "comparison", min(room, BATCH))
    planned = [prompt for prompt in waiting if chosen(prompt.id, "comparison", settings.comparison_share)]
    for prompt in planned:
        id = comparison_id(prompt)
        purpose: Purpose = "agreement" if prompt.split == "valid" else "training"
        config = queues.route(prompt, purpose, configs)
        comparisons.plan(
            ledger,
            prompt,
            config.k,
            purpose=purpose,
            overlap=queues.overlap(config, id),
            models=config.models,
            id=id,
            queue=config.name,
        )
    collection.considered(ledger, "comparison", [prompt.id for prompt in waiting])
    return len(planned)


def plan_contests(ledger: Ledger) -> int:
    """Plan what contests that were just begun ask for, and close those that are over; return how many were planned."""
    contest_results.settle(ledger)
    return contests.plan(ledger)


def request_demonstrations(ledger: Ledger, settings: WorkerSettings) -> int:
    """Ask labelers to answer waiting prompts, as many as there is room for; return how many."""
    if not settings.demonstration_every or not collection.wants(ledger, "demonstration"):
        return 0
    room = settings.max_open_demonstrations - leases.waiting(ledger, demonstrations.QUEUE)
    waiting = collection.wanting(ledger, "demonstration", min(room, BATCH))
    asked = [prompt for prompt in waiting if chosen(prompt.id, "demonstration", 1 / settings.demonstration_every)]
    for prompt in asked:
        demonstrations.request(ledger, prompt)
    collection.considered(ledger, "demonstration", [prompt.id for prompt in waiting])
    return len(asked)
