"""Prompts that labelers write: drafts, submissions, and the reviewer's word on them.

Each move names the revision that its maker has seen and is refused if there is a newer one; each revision is kept. What
an accepted prompt becomes is decided in `feedback.written_items`.
"""

from typing import Any, Literal, cast

import msgspec

from feedback import keys
from feedback.client import Ledger, decode, decode_or_none, encode
from feedback.curation import Rules, prefixes
from feedback.errors import Conflict, InvalidRecord, NotFound
from feedback.records import AuditEntry, PromptKind, Shot, UseCase, WrittenPrompt, utc_now
from feedback.written_items import MOST_SHOTS, Item, customer_of, items, problem, refusal

__all__ = ["MOST_SHOTS", "accept", "begin", "delete", "edit", "get", "history", "mine", "send_back", "submit"]
OPEN = ("draft", "returned")
"""States in which the writer may change it."""


def begin(ledger: Ledger, written: WrittenPrompt) -> WrittenPrompt:
    """Store a new draft and return it; repeated with the same id, it returns what is stored.

    Raises:
        Conflict: somebody else's prompt has this id.
    """
    if not _save(ledger, "", written):
        stands = get(ledger, written.id)
        if stands.labeler != written.labeler:
            raise Conflict("this submission id was used by somebody else; make a new one")
        return stands
    return written


def edit(
    ledger: Ledger,
    id: str,
    labeler: str,
    revision: int,
    *,
    kind: PromptKind,
    use_case: UseCase,
    text: str,
    shots: list[Shot],
) -> WrittenPrompt:
    """Store the next revision of a draft and return it.

    Raises:
        NotFound: this labeler has no such prompt.
        Conflict: there is a newer revision, or the prompt is not being written any more.
    """
    return _change(ledger, id, labeler, revision, OPEN, kind=kind, use_case=use_case, text=text, shots=shots)


def submit(ledger: Ledger, id: str, labeler: str, revision: int) -> WrittenPrompt:
    """Hand a draft to the reviewers.

    Raises:
        NotFound: this labeler has no such prompt.
        InvalidRecord: something is missing; says what.
        Conflict: there is a newer revision, or it was submitted before.
    """
    if obstacle := problem(mine(ledger, id, labeler)):
        raise InvalidRecord(obstacle)
    return _change(ledger, id, labeler, revision, OPEN, state="submitted")


def withdraw(ledger: Ledger, id: str, labeler: str, revision: int) -> WrittenPrompt:
    """Take a submitted prompt back to change it.

    Raises `NotFound` and `Conflict` as `edit` does; the latter also if a reviewer was faster.
    """
    return _change(ledger, id, labeler, revision, ("submitted",), state="draft")


def delete(ledger: Ledger, id: str, labeler: str) -> None:
    """Delete a prompt that was never accepted or rejected, with all of its revisions.

    Raises:
        NotFound: this labeler has no such prompt.
        Conflict: a reviewer has it, or has decided.
    """
    text, written = _read(ledger, id)
    if written is None or written.labeler != labeler:
        raise NotFound(f"no prompt {id!r} of yours")
    places = [keys.WRITTEN, keys.written_log(id), keys.written_of(labeler), keys.WRITTEN_SUBMITTED]
    if written.state not in OPEN or not ledger.run("written_delete", places, [id, text]):
        raise Conflict(f"it is {written.state}; only what is being written can be deleted")


def accept(ledger: Ledger, id: str, revision: int, reviewer: str, comment: str, rules: Rules) -> WrittenPrompt:
    """Take a submitted prompt into the pool: all of its training items in one move, or none.

    Raises:
        NotFound: no such prompt.
        Conflict: there is a newer revision, it is not submitted, the rules refuse an item, one is in the pool already,
            or its writer is at the cap.
    """
    text, written = _reviewed(ledger, id, revision, "accepted", reviewer)
    if written.state == "accepted":
        return written
    made = items(written, rules)
    if refused := refusal(made, rules):
        raise Conflict(f"the rules for prompts refuse {refused}")
    now = utc_now()
    accepted = msgspec.structs.replace(
        written, created_at=now, state="accepted", reviewer=reviewer, comment=comment, revision=written.revision + 1,
        prompt_ids=[item.prompt.id for item in made],
    )  # fmt: skip
    entry = AuditEntry(at=now, actor=reviewer, action="accept prompt", subject=id, reason=comment)
    verdict = ledger.run(
        "written_accept",
        [
            keys.WRITTEN, keys.written_log(id), keys.WRITTEN_SUBMITTED, keys.PROMPTS, keys.PROMPT_BEGINNINGS,
            keys.PROMPT_CUSTOMERS, keys.wanting("comparison"), keys.wanting("demonstration"), keys.DEMONSTRATIONS,
            keys.AUDIT,
        ],
        [
            id, text, encode(accepted), encode(entry), customer_of(written.labeler), rules.most_per_customer,
            int(made[0].prompt.split != "test"), f"{now.timestamp():.3f}", *_flat(made),
        ],
    )  # fmt: skip
    if verdict[0] == "changed":
        raise Conflict("it was changed in the meantime; look at it again")
    if verdict[0] == "duplicate":
        raise Conflict(
            f"the pool has such a prompt already (item {verdict[1]}); reject it, or return it with a comment"
        )
    if verdict[0] == "customer cap":
        raise Conflict(f"its writer would have more than {rules.most_per_customer} prompts in the pool")
    return accepted


def send_back(
    ledger: Ledger, id: str, revision: int, verdict: Literal["returned", "rejected"], reviewer: str, comment: str
) -> WrittenPrompt:
    """Return a submitted prompt to its writer with a comment, or reject it for good.

    Raises:
        NotFound: no such prompt.
        InvalidRecord: it is returned without a comment.
        Conflict: there is a newer revision, or it is not submitted.
    """
    if verdict == "returned" and not comment.strip():
        raise InvalidRecord("say what should change; the writer reads it")
    text, written = _reviewed(ledger, id, revision, verdict, reviewer)
    if written.state == verdict:
        return written
    wanted = msgspec.structs.replace(
        written, created_at=utc_now(), state=verdict, reviewer=reviewer, comment=comment, revision=written.revision + 1
    )
    if not _save(ledger, text, wanted):
        raise Conflict("it was changed in the meantime; look at it again")
    return wanted


def get(ledger: Ledger, id: str) -> WrittenPrompt:
    """Return the last revision of a written prompt; raises `NotFound` if there is none."""
    _, written = _read(ledger, id)
    if written is None:
        raise NotFound(f"no written prompt {id!r}")
    return written


def mine(ledger: Ledger, id: str, labeler: str) -> WrittenPrompt:
    """Return a written prompt if this labeler wrote it; raises `NotFound` otherwise."""
    written = get(ledger, id)
    if written.labeler != labeler:
        raise NotFound(f"no written prompt {id!r}")
    return written


def history(ledger: Ledger, id: str) -> list[WrittenPrompt]:
    """Return all revisions, the oldest first."""
    return [written for _, written in ledger.stream(keys.written_log(id), WrittenPrompt)]


def written_by(ledger: Ledger, labeler: str, most: int = 200) -> list[WrittenPrompt]:
    """Return what a labeler wrote, the latest first, at most ``most``."""
    with ledger.reach() as client:
        ids = cast(list[str], client.zrevrange(keys.written_of(labeler), 0, most - 1))
    return _many(ledger, ids)


def submitted(ledger: Ledger, most: int = 200) -> list[WrittenPrompt]:
    """Return what waits for a reviewer, the longest-waiting first, at most ``most``."""
    with ledger.reach() as client:
        ids = cast(list[str], client.zrange(keys.WRITTEN_SUBMITTED, 0, most - 1))
    return _many(ledger, ids)


def _many(ledger: Ledger, ids: list[str]) -> list[WrittenPrompt]:
    with ledger.reach() as client:
        texts = cast(list[str | None], client.hmget(keys.WRITTEN, ids)) if ids else []
    return [decode(text, WrittenPrompt) for text in texts if text is not None]


def _change(
    ledger: Ledger, id: str, labeler: str, revision: int, states: tuple[str, ...], **changes: Any
) -> WrittenPrompt:
    """Store the revision that follows on ``revision``; a repeated change returns what it stored."""
    text, written = _read(ledger, id)
    if written is None or written.labeler != labeler:
        raise NotFound(f"no written prompt {id!r}")
    if written.revision == revision + 1 and all(getattr(written, name) == value for name, value in changes.items()):
        return written
    if written.revision != revision:
        raise Conflict(f"you changed revision {revision}, and there is {written.revision} by now; load it again")
    if written.state not in states:
        raise Conflict(f"it is {written.state}; this can be done only while it is {' or '.join(states)}")
    wanted = msgspec.structs.replace(written, created_at=utc_now(), revision=revision + 1, **changes)
    if not _save(ledger, text, wanted):
        raise Conflict("it was changed in the meantime; load it again")
    return wanted


def _reviewed(ledger: Ledger, id: str, revision: int, verdict: str, reviewer: str) -> tuple[str, WrittenPrompt]:
    """Return a submitted prompt at the revision that the reviewer read, or one that has this verdict from them."""
    text, written = _read(ledger, id)
    if written is None:
        raise NotFound(f"no written prompt {id!r}")
    again = (written.state, written.reviewer, written.revision) == (verdict, reviewer, revision + 1)
    if not again and (written.state != "submitted" or written.revision != revision):
        raise Conflict(f"it is {written.state} at revision {written.revision}; you read revision {revision}")
    return text, written


def _save(ledger: Ledger, expected: str, written: WrittenPrompt) -> bool:
    places = [keys.WRITTEN, keys.written_log(written.id), keys.written_of(written.labeler), keys.WRITTEN_SUBMITTED]
    at = f"{written.created_at.timestamp():.3f}"
    return bool(ledger.run("written_save", places, [written.id, expected, encode(written), written.state, at]))


def _flat(made: list[Item]) -> list[str]:
    return [
        part
        for item in made
        for part in (
            item.prompt.id,
            encode(item.prompt),
            prefixes.probe(item.text),
            prefixes.entry(item.text, item.prompt.id),
            encode(item.demonstration) if item.demonstration else "",
        )
    ]


def _read(ledger: Ledger, id: str) -> tuple[str, WrittenPrompt | None]:
    with ledger.reach() as client:
        text = cast(str | None, client.hget(keys.WRITTEN, id))
    return text or "", decode_or_none(text, WrittenPrompt)
