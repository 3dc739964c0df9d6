"""What a labeler sees of an item: the prompt and the texts, in an order of their own, nothing of who wrote them.

Knows no ledger: pure functions from records to plain values. Nothing in a view tells a check from another item, a
repeat from a first time, or why the item was picked.
"""

import hashlib
import random
from typing import Any

import msgspec

from feedback.records import Comparison, Completion, Lease, Prompt, QueueConfig

CLOSED_DOMAIN = frozenset({"closed_qa", "extract", "summarization", "rewrite", "classification"})
"""Use cases whose prompt comes with the text that the answer is about."""


def shown_comparison(comparison: Comparison, lease: Lease, config: QueueConfig, draft: Any = None) -> dict[str, Any]:
    """Return what a labeler sees of a comparison that they hold."""
    return {
        "item_id": lease.item_id,
        "kind": "comparison",
        "queue": config.name,
        "token": lease.token,
        "deadline_s": lease.deadline_s,
        "messages": [msgspec.structs.asdict(message) for message in comparison.messages],
        "language": comparison.language,
        "closed_domain": closed_domain(comparison),
        "completions": shown_completions(comparison, lease.labeler),
        "rules": rules(config),
        "draft": draft,
    }


def shown_prompt(prompt: Prompt, lease: Lease, config: QueueConfig, draft: Any = None) -> dict[str, Any]:
    """Return what a labeler sees of a request for a demonstration that they hold."""
    return {
        "item_id": lease.item_id,
        "kind": "demonstration",
        "queue": config.name,
        "token": lease.token,
        "deadline_s": lease.deadline_s,
        "messages": [msgspec.structs.asdict(message) for message in prompt.messages],
        "language": prompt.language,
        "completions": [],
        "rules": rules(config),
        "draft": draft,
    }


def shown_completions(comparison: Comparison, labeler: str) -> list[dict[str, Any]]:
    """Return the completions as a labeler sees them, in the order in which they see them."""
    order = display_order(comparison.id, labeler, len(comparison.completions))
    return [shown(index, comparison.completions[index]) for index in order]


def shown(index: int, completion: Completion) -> dict[str, Any]:
    """Return what a labeler sees of one completion."""
    return {
        "index": index,
        "text": completion.text,
        "finished": completion.finished,
        "similar_to": completion.similar_to,
    }


def display_order(item_id: str, labeler: str, k: int) -> list[int]:
    """Return the indices of an item's ``k`` completions in the order in which a labeler sees them."""
    order = list(range(k))
    random.Random(view_seed(item_id, labeler)).shuffle(order)
    return order


def closed_domain(comparison: Comparison) -> bool:
    """Return whether the prompt may hold all that an answer may say; only then can an answer make things up."""
    return comparison.use_case in CLOSED_DOMAIN or not comparison.use_case


def rules(config: QueueConfig) -> dict[str, Any]:
    """Return what a queue asks of its labelers."""
    return {"ties": config.ties, "partial_order": config.partial_order, "daily_goal": config.daily_goal}


def view_seed(item_id: str, labeler: str) -> int:
    """Return the seed of a view's order: the same for each look of one labeler, independent between labelers."""
    return int.from_bytes(hashlib.sha256(f"{item_id}\n{labeler}".encode()).digest()[:8])
