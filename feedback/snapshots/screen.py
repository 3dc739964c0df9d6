"""The screen before training: each label, demonstration and prompt is kept, or left out with a reason.

Pure functions of records and of one `View` of everything else that the ledger says. Which texts can be used is in
`feedback.snapshots.texts`, how much one party may have in `feedback.snapshots.caps`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar

from feedback.access import Withdrawn
from feedback.errors import DataError
from feedback.labelers import Period, in_quarantine
from feedback.records import Comparison, Demonstration, DemonstrationReview, Label, Prompt
from feedback.snapshots.caps import IMPORTED
from feedback.snapshots.rows import REVIEWER
from feedback.tombstones import Tombstones
from feedback.votes import GROUP as CUSTOMERS

SPLITS = {"training": ("train", "valid"), "agreement": ("valid",)}
"""Purpose -> splits that go in: training rows, and what the trainer reports on. Nothing of split test is labelled."""
AHEAD = timedelta(hours=1)
"""How far in the future a record may say that it was made: clocks differ, but not more."""
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""Before this, a record's time is no time."""
MALFORMED = frozenset(
    (
        "duplicate id",
        "ranking does not fit",
        "contradicts itself",
        "impossible time",
        "too long",
        "empty prompt",
        "empty response",
    )
)
"""Reasons that mean that something is broken, rather than that a rule of ours leaves the row out."""
MOST_MALFORMED = 0.01
"""Share of malformed rows from which no snapshot is built."""
FEW = 3
"""So many malformed rows fail no build, however few rows there are."""
KEYLESS = ("labeler:", "import:")
"""How the customers of what labelers wrote, and of imported sets, begin."""
Pair = tuple[Label, Comparison]


class View(NamedTuple):
    """What the ledger says beside the rows themselves."""

    now: datetime
    erased: Tombstones
    withdrawn: Withdrawn
    quarantined: Mapping[str, list[Period]]
    adjudicated: frozenset[str]
    """Comparisons whose last word a reviewer has."""
    discarded: frozenset[str]
    """Comparisons that a reviewer threw away."""
    reviewed: Mapping[str, DemonstrationReview]
    """Demonstration id -> the last review of it."""
    labelers: frozenset[str]
    """Names that ever had a key to label; empty where nothing is known, and then everybody passes."""
    customers: frozenset[str]
    """Names that ever had a key; empty where no customer's is known."""
    versions: frozenset[str]
    """Policies in the registry; empty where nothing is known."""
    keys: Mapping[str, str]
    """Prompt id -> the key under which it was asked."""
    without: frozenset[str] = frozenset()
    """``labeler:NAME`` and ``customer:NAME`` to build without."""

    def wanted(self, customer: str, labeler: str = "") -> str:
        """Return why this build leaves out these people's rows, or an empty string."""
        named = self.without & {f"customer:{customer}", f"labeler:{labeler}"}
        return f"without {min(named)}" if named else ""

    def strange(self, customer: str) -> bool:
        """Tell whether nobody by this name was ever let in; labelers' own prompts and imported sets have no key."""
        return bool(self.customers) and customer not in self.customers and not customer.startswith(KEYLESS)

    def timely(self, made: datetime) -> bool:
        """Tell whether a record may have been made at this moment."""
        return EARLIEST <= made <= self.now + AHEAD


class _Revised(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def revision_of(self) -> str: ...


V = TypeVar("V", bound=_Revised)


def newest(records: Iterable[V]) -> tuple[list[V], dict[str, str], int]:
    """Return the highest revision of each record, {id: reason} of the others, and how many ids came twice."""
    first: dict[str, V] = {}
    again = 0
    for record in records:
        again += record.id in first
        first.setdefault(record.id, record)
    last: dict[str, V] = {}
    for record in first.values():
        root = record.revision_of or record.id
        if root not in last or record.revision > last[root].revision:
            last[root] = record
    kept = {record.id for record in last.values()}
    return list(last.values()), {id: "superseded" for id in first if id not in kept}, again


def labels(taken: list[Label], found: Mapping[str, Comparison | None], view: View) -> tuple[list[Pair], dict[str, str]]:
    """Split labels into usable (label, comparison) pairs and {label id: reason} for the rest."""
    kept: list[Pair] = []
    left_out: dict[str, str] = {}
    for label in taken:
        comparison = found.get(label.comparison_id)
        reason = why_not(label, comparison, view)
        if reason or comparison is None:
            left_out[label.id] = reason
        else:
            kept.append((label, comparison))
    doubled = contradictions(kept)
    return [pair for pair in kept if pair[0].id not in doubled], left_out | doubled


def why_not(label: Label, comparison: Comparison | None, view: View) -> str:
    """Return why a label does not go into a snapshot, or an empty string."""
    if label.comparison_id in view.erased.comparisons:
        return "erased"
    if comparison is None:
        return "comparison is gone"
    if view.erased.cover_derived(comparison.customer, comparison.created_at):
        return "erased"
    if wanted := view.wanted(comparison.customer, label.labeler):
        return wanted
    if comparison.purpose not in SPLITS:
        return f"purpose {comparison.purpose}"
    if comparison.split not in SPLITS[comparison.purpose]:
        return f"{comparison.purpose} of split {comparison.split}"
    key_id = comparison.key_id or view.keys.get(comparison.prompt_id, "")
    if view.withdrawn.covers(comparison.customer, key_id):
        return "consent withdrawn"
    if view.strange(comparison.customer):
        return "unknown customer"
    return _of_people(label, comparison, view) or _of_content(label, comparison, view)


def contradictions(pairs: list[Pair]) -> dict[str, str]:
    """Return {label id: reason} where one labeler answered one comparison more than once.

    The first of equal answers stays; where they differ nobody knows which one is meant, and all go.
    """
    answers: defaultdict[tuple[str, str, str], list[Label]] = defaultdict(list)
    for label, comparison in pairs:
        answers[comparison.id, label.labeler_group, label.labeler].append(label)
    left_out: dict[str, str] = {}
    for given in answers.values():
        if len({repr([sorted(group) for group in label.ranking]) for label in given}) > 1:
            left_out |= {label.id: "contradicts itself" for label in given}
        else:
            left_out |= {label.id: "repeated answer" for label in given[1:]}
    return left_out


def demonstration(each: Demonstration, view: View) -> str:
    """Return why a demonstration does not go in, or an empty string."""
    review, earlier = view.reviewed.get(each.id), view.reviewed.get(each.revision_of)
    if review is None and earlier is not None and earlier.verdict == "rejected":
        review = earlier  # one that was returned may come back changed, one that was rejected may not
    if view.erased.cover_derived(each.customer, each.created_at):
        return "erased"
    if wanted := view.wanted(each.customer, each.labeler):
        return wanted
    if review is not None and review.verdict != "accepted":
        return f"{review.verdict} by a reviewer"
    if view.withdrawn.covers(each.customer, view.keys.get(each.prompt_id, "")):
        return "consent withdrawn"
    if view.strange(each.customer):
        return "unknown customer"
    if view.labelers and each.labeler not in view.labelers:
        return "unknown labeler"
    if in_quarantine(view.quarantined.get(each.labeler, []), each.created_at):
        return "labeler in quarantine"
    return "" if view.timely(each.created_at) else "impossible time"


def prompt(each: Prompt, view: View) -> str:
    """Return why a prompt does not go in, or an empty string."""
    if view.erased.cover_derived(each.customer, each.created_at):
        return "erased"
    if wanted := view.wanted(each.customer, each.author):
        return wanted
    if view.withdrawn.covers(each.customer, each.key_id):
        return "consent withdrawn"
    if view.strange(each.customer):
        return "unknown customer"
    return "" if view.timely(each.created_at) else "impossible time"


def check_malformed(quarantined: Mapping[str, Mapping[str, int]], rows: int) -> None:
    """Refuse to go on where more than `MOST_MALFORMED` of all rows are broken.

    Raises:
        DataError: says how many rows are, and why.
    """
    broken: Counter[str] = Counter()
    for reasons in quarantined.values():
        broken.update({reason: count for reason, count in reasons.items() if reason in MALFORMED})
    if broken.total() > max(FEW, MOST_MALFORMED * rows):
        said = ", ".join(f"{reason}: {count}" for reason, count in broken.most_common())
        raise DataError(
            f"no snapshot: {broken.total()} of {rows} rows are malformed, more than {MOST_MALFORMED:.0%} ({said}); "
            "find what writes them first"
        )


def _of_people(label: Label, comparison: Comparison, view: View) -> str:
    """Return what speaks against whoever labelled, or whatever answered."""
    ours = label.labeler_group not in (CUSTOMERS, IMPORTED, REVIEWER)
    if ours and view.labelers and label.labeler not in view.labelers:
        return "unknown labeler"
    models = {each.policy_version for each in comparison.completions}
    if label.labeler_group != IMPORTED and view.versions and not models <= view.versions:
        return "unknown version"
    if in_quarantine(view.quarantined.get(label.labeler, []), label.created_at) and ours:
        return "labeler in quarantine"
    if comparison.id in view.discarded:
        return "discarded by a reviewer"
    return "adjudicated" if comparison.id in view.adjudicated and label.labeler_group != REVIEWER else ""


def _of_content(label: Label, comparison: Comparison, view: View) -> str:
    ranked = [index for group in label.ranking for index in group]
    k = len(comparison.completions)
    if len(set(ranked)) < len(ranked) or any(not 0 <= index < k for index in ranked):
        return "ranking does not fit"
    if not view.timely(label.created_at):
        return "impossible time"
    return "" if label.outcome == "ranked" else "nothing to learn"
