"""Records that are valid by default, for tests; say only what the test is about."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from feedback import artifacts, comparisons, leases
from feedback.client import Ledger
from feedback.ids import new_id
from feedback.records import (
    AuditEntry,
    Comparison,
    Completion,
    Demonstration,
    EvaluationReport,
    Interaction,
    Label,
    Lease,
    Message,
    Policy,
    Prompt,
    Rating,
    RewardModel,
    Round,
    SwapEvent,
    WrittenPrompt,
)

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
"""A fixed moment, so that builders give the same record twice."""


def make_messages(text: str = "Name a fruit.") -> list[Message]:
    """Return a conversation of one user message."""
    return [Message(role="user", content=text)]


def make_interaction(text: str = "Name a fruit.", **changes: Any) -> Interaction:
    """Return a consented interaction of customer ``acme``."""
    record = Interaction(
        id=new_id("int"),
        created_at=NOON,
        customer="acme",
        key_id="key_1",
        messages=make_messages(text),
        completion="An apple.",
        finish_reason="stop",
        policy_version="policy-0000",
    )
    return msgspec.structs.replace(record, **changes)


def make_rating(**changes: Any) -> Rating:
    """Return a thumb up."""
    record = Rating(id=new_id("rat"), created_at=NOON, interaction_id="int_1", customer="acme", rating=1)
    return msgspec.structs.replace(record, **changes)


def make_prompt(text: str = "Name a fruit.", **changes: Any) -> Prompt:
    """Return a curated prompt of the train split."""
    record = Prompt(id=new_id("pro"), created_at=NOON, customer="acme", messages=make_messages(text), split="train")
    return msgspec.structs.replace(record, **changes)


def make_completion(text: str = "An apple.", **changes: Any) -> Completion:
    """Return a finished completion of the first policy."""
    record = Completion(text=text, policy_version="policy-0000", seed=1, temperature=1.0, finished=True)
    return msgspec.structs.replace(record, **changes)


def make_comparison(k: int = 4, **changes: Any) -> Comparison:
    """Return a comparison with all of its K completions."""
    record = Comparison(
        id=new_id("cmp"),
        created_at=NOON,
        prompt_id="pro_1",
        customer="acme",
        messages=make_messages(),
        split="train",
        k=k,
        completions=[make_completion(f"Fruit {index}.") for index in range(k)],
    )
    return msgspec.structs.replace(record, **changes)


def make_label(comparison: Comparison, **changes: Any) -> Label:
    """Return a label that ranks the completions in their own order, without ties."""
    record = Label(
        id=new_id("sub"),
        created_at=NOON,
        comparison_id=comparison.id,
        labeler="lee",
        labeler_group="training",
        ranking=[[index] for index in range(comparison.k)],
    )
    return msgspec.structs.replace(record, **changes)


def make_demonstration(prompt: Prompt, **changes: Any) -> Demonstration:
    """Return a labeler's own answer to a prompt."""
    record = Demonstration(
        id=new_id("sub"),
        created_at=NOON,
        prompt_id=prompt.id,
        customer=prompt.customer,
        messages=prompt.messages,
        response="A pear.",
        labeler="lee",
        split=prompt.split,
    )
    return msgspec.structs.replace(record, **changes)


def make_written(text: str = "Write a poem.", **changes: Any) -> WrittenPrompt:
    """Return a plain prompt that labeler ``lee`` drafts."""
    record = WrittenPrompt(id=new_id("wri"), created_at=NOON, labeler="lee", kind="plain", use_case="other", text=text)
    return msgspec.structs.replace(record, **changes)


def make_policy(version: str = "policy-0000", **changes: Any) -> Policy:
    """Return the record of a base model."""
    record = Policy(version=version, created_at=NOON, kind="base", path=f"policies/{version}", sha256="0" * 64)
    return msgspec.structs.replace(record, **changes)


def make_reward_model(**changes: Any) -> RewardModel:
    """Return the record of a reward model."""
    record = RewardModel(id="rm_1", created_at=NOON, snapshot_id="snp_1", path="reward-models/rm_1", sha256="0" * 64)
    return msgspec.structs.replace(record, **changes)


def make_report(version: str = "policy-0001", **figures: Any) -> EvaluationReport:
    """Return a report that passes the gate; ``figures`` replace single ones."""
    good = {
        "win_rate": {"mean": 0.7, "low": 0.61, "high": 0.78, "n": 120},
        "kl_nats": 6.0,
        "length_ratio": 1.1,
        "eos_rate": 0.97,
        "pretraining_loss_rise": 0.02,
    }
    return EvaluationReport(id=new_id("evr"), created_at=NOON, version=version, figures={**good, **figures})


def make_round(**changes: Any) -> Round:
    """Return a round that has just begun."""
    record = Round(id=new_id("rnd"), created_at=NOON, state="running")
    return msgspec.structs.replace(record, **changes)


def make_audit_entry(**changes: Any) -> AuditEntry:
    """Return the note of a promotion."""
    record = AuditEntry(at=NOON, actor="olga", action="promote", subject="live")
    return msgspec.structs.replace(record, **changes)


def make_swap(**changes: Any) -> SwapEvent:
    """Return a swap that was asked for and not done yet."""
    record = SwapEvent(at=NOON, replica="one", version="policy-0001", state="pending")
    return msgspec.structs.replace(record, **changes)


def open_comparison(ledger: Ledger, **changes: Any) -> Comparison:
    """Plan a comparison, complete it and return it; it waits for a labeler in the queue of its purpose."""
    wanted = make_comparison(**changes)
    planned = comparisons.plan(
        ledger,
        make_prompt(id=wanted.prompt_id, split=wanted.split, customer=wanted.customer, messages=wanted.messages),
        wanted.k,
        purpose=wanted.purpose,
        overlap=wanted.overlap,
        models=wanted.models,
        id=wanted.id,
        priority=wanted.priority,
        queue=wanted.queue,
    )
    assert comparisons.complete(ledger, planned, wanted.completions)
    return comparisons.get(ledger, wanted.id)


def lease_next(ledger: Ledger, labeler: str = "lee", queue: str = "training", **options: Any) -> Lease:
    """Lease the next item, which must be there."""
    found = leases.lease(ledger, queue, labeler, **options)
    assert found is not None, f"nothing left for {labeler} in {queue}"
    return found


def make_directory(root: Path, path: str, content: str = "weights") -> str:
    """Write an artifact of one file under ``root``/``path`` and return the SHA-256 of its manifest."""
    with artifacts.new_directory(root / path) as draft:
        (draft / "model.safetensors").write_text(content)
    return artifacts.verify(root / path)
