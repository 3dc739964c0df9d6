"""What all records share, and the words that they are made of."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

Split = Literal["train", "valid", "test"]
Role = Literal["client", "labeler", "operator", "metrics"]
Purpose = Literal["training", "agreement", "gold", "repeat", "evaluation"]
"""Why labelers are asked: to train, to measure agreement, to check them against a known answer or against their own
earlier one, or to compare two policies on held-out customers. Only ``training`` ever trains."""
Kind = Literal["base", "sft", "ppo"]
UseCase = Literal[
    "generation",
    "open_qa",
    "brainstorming",
    "chat",
    "rewrite",
    "summarization",
    "classification",
    "other",
    "closed_qa",
    "extract",
]
"""The use cases of the paper's Table 1."""
PromptKind = Literal["plain", "few_shot", "user_based"]
"""The three kinds of prompts that labelers write (the paper's section 3.2)."""
Outcome = Literal["ranked", "all_bad", "all_good"]
Count = Annotated[int, msgspec.Meta(ge=0)]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


def utc_now() -> datetime:
    """Return the present moment, aware and in UTC."""
    return datetime.now(UTC)


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records: immutable, keyword-only, unknown fields refused."""


class Message(Record, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str
