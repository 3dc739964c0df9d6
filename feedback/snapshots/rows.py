"""Rows of a snapshot: the schemas of its files, and records as rows. The trainer reads exactly these.

Knows what a row looks like and what its hash is; does not know which rows go in.
"""

import hashlib
from typing import Any

import msgspec
import pyarrow as pa

from feedback import labels
from feedback.curation import mask_messages
from feedback.records import Adjudication, Comparison, Demonstration, Label, Message, Prompt
from feedback.votes import GROUP as CUSTOMERS

REVIEWER = "reviewer"
"""Annotator and labeler group of a reviewer's final ranking; nobody's name."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
COMPARISONS = pa.schema(
    [
        ("id", pa.string()),
        ("messages", MESSAGES),
        (
            "responses",
            pa.list_(pa.struct([("text", pa.string()), ("model", pa.string()), ("finished", pa.bool_())])),
        ),
        (
            "comparisons",
            pa.list_(
                pa.struct([("a", pa.int32()), ("b", pa.int32()), ("winner", pa.string()), ("annotator", pa.string())])
            ),
        ),
        ("customer", pa.string()),
        ("split", pa.string()),
        ("labeler_group", pa.string()),
        ("display_order", pa.list_(pa.int32())),
        ("comparison_id", pa.string()),
    ]
)
DEMONSTRATIONS = pa.schema(
    [
        ("id", pa.string()),
        ("messages", MESSAGES),
        ("response", pa.string()),
        ("customer", pa.string()),
        ("labeler", pa.string()),
        ("split", pa.string()),
    ]
)
PROMPTS = pa.schema([("id", pa.string()), ("messages", MESSAGES), ("customer", pa.string()), ("split", pa.string())])
SCHEMAS = {"comparisons": COMPARISONS, "demonstrations": DEMONSTRATIONS, "prompts": PROMPTS}
"""Kind of row -> schema of ``<kind>.parquet``."""
HASHES = pa.schema([("kind", pa.string()), ("id", pa.string()), ("sha256", pa.string()), ("people", pa.string())])
"""``rows.parquet``: the hash of every row inside, and whose it is, so that two snapshots can be held side by side."""
LEFT_OUT = pa.schema([("kind", pa.string()), ("id", pa.string()), ("reason", pa.string())])
"""``left_out.parquet``: what is not inside, and why."""
Row = dict[str, Any]


def comparison_row(label: Label, comparison: Comparison) -> Row:
    """Return one labelled comparison in the preference schema (see `COMPARISONS`)."""
    return {
        "id": label.id,
        "messages": turns(comparison.messages),
        "responses": [
            {"text": each.text, "model": each.policy_version, "finished": each.finished}
            for each in comparison.completions
        ],
        "comparisons": [
            {"a": a, "b": b, "winner": winner, "annotator": label.labeler}
            for a, b, winner in labels.pairs(label.ranking)
        ],
        "customer": comparison.customer,
        "split": comparison.split,
        "labeler_group": label.labeler_group,
        "display_order": label.display_order,
        "comparison_id": comparison.id,
    }


def demonstration_row(demonstration: Demonstration) -> Row:
    """Return one demonstration as a row of `DEMONSTRATIONS`."""
    return {
        "id": demonstration.id,
        "messages": turns(demonstration.messages),
        "response": demonstration.response,
        "customer": demonstration.customer,
        "labeler": demonstration.labeler,
        "split": demonstration.split,
    }


def prompt_row(prompt: Prompt) -> Row:
    """Return one prompt as a row of `PROMPTS`."""
    return {
        "id": prompt.id,
        "messages": turns(prompt.messages),
        "customer": prompt.customer,
        "split": prompt.split,
    }


def as_label(adjudication: Adjudication) -> Label:
    """Return a reviewer's final ranking as the label that goes in instead of those that differed."""
    return Label(
        id=adjudication.id,
        created_at=adjudication.created_at,
        comparison_id=adjudication.comparison_id,
        labeler=REVIEWER,
        labeler_group=REVIEWER,
        outcome=adjudication.outcome,
        ranking=adjudication.ranking,
    )


def masked(comparison: Comparison, group: str) -> Comparison:
    """Return a comparison as it may train: what a customer voted on was never curated, and is masked here."""
    if group != CUSTOMERS:
        return comparison
    answers = [Message(role="assistant", content=each.text) for each in comparison.completions]
    said, _ = mask_messages([*comparison.messages, *answers])
    turns, texts_of = said[: len(comparison.messages)], said[len(comparison.messages) :]
    return msgspec.structs.replace(
        comparison,
        messages=turns,
        completions=[
            msgspec.structs.replace(each, text=turn.content)
            for each, turn in zip(comparison.completions, texts_of, strict=True)
        ],
    )


def sha256_of(row: Row) -> str:
    """Return the hash of a row's content: SHA-256 of its JSON with sorted keys."""
    return hashlib.sha256(msgspec.json.encode(row, order="sorted")).hexdigest()


def people_of(row: Row) -> str:
    """Return whose row it is, as `snapshot build --without` names people, separated by spaces."""
    names = {each["annotator"] for each in row.get("comparisons", [])} | {row.get("labeler")}
    return " ".join([f"customer:{row['customer']}", *(f"labeler:{name}" for name in sorted(filter(None, names)))])


def turns(messages: list[Message]) -> list[dict[str, str]]:
    """Return a conversation as plain values."""
    return [msgspec.structs.asdict(message) for message in messages]
