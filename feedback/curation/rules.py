"""The rules by which a logged interaction becomes a prompt: pure functions of plain values.

Source: Ouyang et al. 2022, arXiv:2203.02155, appendix A.2 (deduplication by long common prefix, 200 prompts per
organisation, splits by organisation).
"""

import hashlib
import unicodedata
from collections.abc import Sequence

import msgspec

from feedback.records import Interaction, Message, Prompt, Split, utc_now


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a prompt must be to be kept."""

    most_per_customer: int = 200
    min_chars: int = 3
    max_chars: int = 4000
    valid_percent: int = 10
    test_percent: int = 10


def split_of(customer: str, rules: Rules) -> Split:
    """Return the split of a customer: all prompts of one customer fall into one split, for ever."""
    place = int.from_bytes(hashlib.sha256(f"split:{customer}".encode()).digest()[:8]) % 100
    if place < rules.test_percent:
        return "test"
    if place < rules.test_percent + rules.valid_percent:
        return "valid"
    return "train"


def text_of(messages: Sequence[Message]) -> str:
    """Return the conversation as one normalised text, for comparing prompts; it holds no NUL."""
    text = "\n".join(f"{message.role}: {message.content}" for message in messages)
    return " ".join(unicodedata.normalize("NFKC", text).replace("\0", " ").casefold().split())


def refusal(interaction: Interaction, rules: Rules) -> str | None:
    """Return why this interaction may not become a prompt, or None if it may."""
    if not interaction.consent:
        return "no consent"
    asked = [message.content for message in interaction.messages if message.role == "user"]
    if not asked:
        return "no user message"
    length = sum(len(content.strip()) for content in asked)
    if length < rules.min_chars:
        return "too short"
    if length > rules.max_chars:
        return "too long"
    if sum(character.isprintable() or character.isspace() for character in asked[-1]) < 0.9 * len(asked[-1]):
        return "not text"
    return None


def to_prompt(interaction: Interaction, rules: Rules) -> Prompt:
    """Return the prompt that an accepted interaction gives; its id follows from the interaction's."""
    return Prompt(
        id=f"pro_{interaction.id.removeprefix('int_')}",
        created_at=utc_now(),
        customer=interaction.customer,
        messages=interaction.messages,
        split=split_of(interaction.customer, rules),
        interaction_id=interaction.id,
    )
