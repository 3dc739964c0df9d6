"""What labelers are told: versioned Markdown, and the flags that they may raise.

The built-in version "1" is shipped with the package and in force until an operator publishes another one. Who has
acknowledged which version is kept in `feedback.labelers`.

Source of the flags and of the two orders of priority: Ouyang et al. 2022, arXiv:2203.02155, Table 3 and appendix B.2.
"""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec

from feedback import keys
from feedback.client import Ledger, encode
from feedback.errors import Conflict, InvalidRecord, NotFound
from feedback.records import AuditEntry, Guidelines, utc_now

BUILT_IN = "1"
"""Version that is in force as long as none was published."""
TEXT = Path(__file__).parent / "texts" / "guidelines.md"
MAX_CHARS = 100_000
FLAG_SET_VERSION = "1"
"""Changes when a flag is added, renamed or taken away; stored with each label."""


class Flag(msgspec.Struct, frozen=True):
    """Something that may be wrong with, or told of, one completion."""

    name: str
    words: str
    closed_domain_only: bool = False
    """Offered only where the prompt holds all that the answer may say."""


FLAGS = (
    Flag("fails_instruction", "fails to follow the instruction or task"),
    Flag("inappropriate", "inappropriate for a customer assistant"),
    Flag("hallucination", "makes things up that the prompt does not say", closed_domain_only=True),
    Flag("violates_constraint", "breaks a constraint that the prompt states"),
    Flag("sexual", "sexual content"),
    Flag("violent", "violent content"),
    Flag("encourages_harm", "encourages violence, abuse, terrorism or self-harm, or fails to discourage it"),
    Flag("denigrates_protected_class", "denigrates a protected class"),
    Flag("harmful_advice", "gives harmful advice"),
    Flag("opinion", "expresses an opinion"),
    Flag("moral_judgment", "expresses a moral judgment"),
)
"""The paper's Table 3; its "satisfies the constraint" is asked the other way round, so that each flag is a fault."""
FLAG_NAMES = frozenset(flag.name for flag in FLAGS)


@cache
def built_in() -> Guidelines:
    """Return the version that is shipped; nobody has to acknowledge it."""
    return Guidelines(
        version=BUILT_IN,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        text=TEXT.read_text(encoding="utf-8"),
        change="The first version.",
        must_acknowledge=False,
    )


def current(ledger: Ledger) -> Guidelines:
    """Return the version in force: the last one published, or the built-in one.

    Versions have no gaps, so their number names the last one, and the older texts stay where they are.
    """
    with ledger.reach() as client:
        published = int(client.hlen(keys.GUIDELINES))
    return get(ledger, str(int(BUILT_IN) + published))


def get(ledger: Ledger, version: str) -> Guidelines:
    """Return one version.

    Raises:
        NotFound: no such version.
    """
    found = built_in() if version == BUILT_IN else ledger.hget(keys.GUIDELINES, version, Guidelines)
    if found is None:
        raise NotFound(f"no guidelines {version!r}")
    return found


def history(ledger: Ledger) -> list[Guidelines]:
    """Return all versions, the one in force first."""
    published = ledger.hall(keys.GUIDELINES, Guidelines)
    return [*sorted(published, key=lambda each: int(each.version), reverse=True), built_in()]


def publish(ledger: Ledger, text: str, change: str, actor: str, *, must_acknowledge: bool = True) -> Guidelines:
    """Put a new version in force and return it; versions are numbered and never changed.

    Args:
        ledger: where guidelines are kept.
        text: Markdown.
        change: what is new, in a sentence; shown to labelers.
        actor: who publishes; kept in the audit.
        must_acknowledge: labelers are given nothing until they have said that they read it.

    Raises:
        InvalidRecord: the text or the sentence is empty, or the text is too long.
        Conflict: somebody else published at the same moment.
    """
    if not text.strip() or not change.strip():
        raise InvalidRecord("guidelines need a text, and a sentence that says what is new")
    if len(text) > MAX_CHARS:
        raise InvalidRecord(f"the guidelines have {len(text)} characters, at most {MAX_CHARS} are taken")
    before, now = current(ledger).version, utc_now()
    made = Guidelines(
        version=str(int(before) + 1),
        created_at=now,
        text=text,
        change=change.strip(),
        actor=actor,
        must_acknowledge=must_acknowledge,
    )
    entry = AuditEntry(
        at=now, actor=actor, action="publish guidelines", subject="guidelines",
        before=before, after=made.version, reason=made.change,
    )  # fmt: skip
    if not ledger.run("publish", [keys.GUIDELINES, keys.AUDIT], [made.version, encode(made), encode(entry)]):
        raise Conflict(f"guidelines {made.version} were published a moment ago by somebody else; look at them first")
    return made
