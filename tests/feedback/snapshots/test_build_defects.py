"""Broken rows: every one stays out with its reason, and many of them fail the build."""

from pathlib import Path

import pytest

from feedback import keys, snapshots
from feedback.client import Ledger, encode
from feedback.errors import DataError
from feedback.snapshots import screen
from tests.builders import NOON, make_comparison, make_completion, make_label, open_comparison
from tests.feedback.snapshots.test_build import fill


def defects(ledger: Ledger, count: int) -> None:
    """Write labels into the stream that no route would take."""
    for number in range(count):
        comparison = open_comparison(ledger)
        wrong = make_label(comparison, id=f"bad_{number}", ranking=[[0], [1], [2], [9]])
        ledger.redis.xadd(keys.LABELS, {"record": encode(wrong)})


WRONG: tuple[dict[str, object], ...] = (
    {"ranking": [[0], [1], [2], [9]]},
    {"ranking": [[0], [0, 1]]},
    {"created_at": NOON.replace(year=2199)},
    {"created_at": NOON.replace(year=1969)},
    {"outcome": "all_bad", "ranking": [[0, 1, 2, 3]]},
)
BAD_TEXTS = (
    ["", " ", "\x00", "\ufeff"],
    ["same", "same", "same ", " same"],
    ["p\u0430ypal", "b", "c", "d"],
    ["x" * 200_001, "b", "c", "d"],
)


def test_a_hundred_defects_of_all_kinds_stay_out_and_fail_the_build(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = fill(ledger)
    broken = [make_label(make_comparison(id=f"cmp_d{n}"), id=f"bad_{n}", **WRONG[n % 5]) for n in range(60)]
    for label in broken:
        ledger.redis.set(keys.comparison(label.comparison_id), encode(make_comparison(id=label.comparison_id)))
    for n in range(60, 100):
        texts = [make_completion(text) for text in BAD_TEXTS[n % 4]]
        odd = make_comparison(id=f"cmp_d{n}", completions=texts)
        ledger.redis.set(keys.comparison(odd.id), encode(odd))
        broken.append(make_label(odd, id=f"bad_{n}"))
    for label in broken:
        ledger.redis.xadd(keys.LABELS, {"record": encode(label)})
    with pytest.raises(DataError, match="more than 1%"):
        snapshots.build(ledger, tmp_path)
    monkeypatch.setattr(screen, "MOST_MALFORMED", 1.0)
    made = snapshots.build(ledger, tmp_path)
    assert made.labels == [label.id for label in good]
    assert set(made.left_out) == {label.id for label in broken}
    assert made.quarantined["comparisons"] == {
        "empty completions": 10,
        "equal completions": 10,
        "impossible time": 24,
        "look-alike letters": 10,
        "nothing to learn": 12,
        "ranking does not fit": 24,
        "too long": 10,
    }


def test_few_malformed_rows_are_left_out_and_many_fail_the_build(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger)
    defects(ledger, 3)
    made = snapshots.build(ledger, tmp_path)
    assert made.quarantined["comparisons"] == {"ranking does not fit": 3}
    defects(ledger, 4)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="of 15 rows are malformed"):
        snapshots.build(ledger, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
