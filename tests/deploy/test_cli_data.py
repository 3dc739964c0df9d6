"""``whetstone data`` and ``whetstone snapshot`` on a real ledger."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.cli import main
from feedback import labels, promotion, snapshots
from feedback.client import Ledger
from tests.builders import lease_next, make_label, open_comparison

pytestmark = pytest.mark.redis
ROW = {
    "prompt": "Name a fruit.",
    "responses": [{"text": "A pear."}, {"text": "A stone."}],
    "comparisons": [{"a": 0, "b": 1, "winner": "a", "annotator": "ann"}],
}


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run ``whetstone ARGUMENTS`` inside the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHETSTONE_LEDGER_URL", ledger.url)
    monkeypatch.setenv("WHETSTONE_ARTIFACT_ROOT", str(tmp_path / "artifacts"))

    def whetstone(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["whetstone", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, said.out, said.err)

    return whetstone


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(ROW) + "\n{\n" + json.dumps({**ROW, "prompt": ""}) + "\n")
    return path


def give_labels(ledger: Ledger, *names: str) -> None:
    for name in names:
        comparison = open_comparison(ledger)
        labels.submit(ledger, make_label(comparison, labeler=name), comparison, lease_next(ledger, name).token)


def test_an_import_says_what_became_of_every_line(run: Run, ledger: Ledger, file: Path, tmp_path: Path) -> None:
    made = run("data", "import", str(file), "--source", "shop", "--rejects", "bad.jsonl", "--actor", "olga")
    assert made.code == 0
    assert "labels       1" in made.out
    assert "not used, the prompt is empty: 1 (first in line 3)" in made.out
    rejected = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [each["line"] for each in rejected] == [2, 3]
    last = list(promotion.audit(ledger))[-1]
    assert (last.actor, last.action, last.subject) == ("olga", "import", "shop")
    again = run("data", "import", str(file), "--source", "shop", "--json")
    assert (again.json["labels"], again.json["known"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("--source", "Shop!"), 2, "is no name"),
        (("--source", "shop", "--format", "csv"), 2, "cannot be read"),
    ],
)
def test_a_wrong_import_is_one_line(run: Run, file: Path, arguments: tuple[str, ...], code: int, problem: str) -> None:
    ended = run("data", "import", str(file), *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert problem in ended.err


def test_a_file_that_is_none_is_refused(run: Run) -> None:
    ended = run("data", "import", "none.jsonl", "--source", "shop")
    assert ended.code == 1
    assert "no such file" in ended.err


def test_an_export_is_written_once_and_comes_back_in(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    give_labels(ledger, "lee", "ann")
    assert run("data", "export", "out.json", "--format", "argilla").code == 0
    assert len(json.loads((tmp_path / "out.json").read_text())) == 2
    assert "exists" in run("data", "export", "out.json").err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json"]
    back = run("data", "import", "out.json", "--source", "back", "--format", "argilla", "--json")
    assert (back.json["labels"], back.json["quarantined"]) == (2, {})


def test_without_a_file_the_rows_are_on_standard_output_alone(run: Run, ledger: Ledger) -> None:
    give_labels(ledger, "lee")
    [line] = run("data", "export", "--format", "rankings").out.splitlines()
    assert json.loads(line)["annotator"] == "lee"
    assert run("data", "export", "--purpose", "gold").code == 2
    assert run("data", "export", "--format", "open-webui").code == 2


def test_a_snapshot_is_built_shown_checked_and_held_against_one_without_somebody(
    run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    give_labels(ledger, "lee", "ann", "lee")
    assert run("snapshot", "show").code == 1
    whole = run("snapshot", "build", "--json").json
    part = run("snapshot", "build", "--without", "labeler:lee", "--json").json
    assert (whole["comparisons"], part["comparisons"], part["without"]) == (3, 1, ["labeler:lee"])
    shown = run("snapshot", "show")
    assert part["id"] in shown.out
    assert "without labeler:lee" in shown.out
    assert "labeler 100.0%, customer 100.0%, votes 10.0%, nobody below 100 rows" in shown.out
    assert "3 rows are what they were" in run("snapshot", "verify", whole["id"]).out
    found = run("snapshot", "compare", whole["id"], part["id"], "--json").json
    assert found == {
        "gained": {},
        "lost": {"comparisons": 2},
        "reasons": {"comparisons": {"without labeler:lee": 2}},
    }
    assert "- 2" in run("snapshot", "compare", whole["id"], "latest").out
    (tmp_path / "artifacts" / whole["path"] / "rows.parquet").write_bytes(b"")
    damaged = run("snapshot", "verify", whole["id"])
    assert damaged.code == 1
    assert "rows.parquet" in damaged.err
    assert len(snapshots.list_snapshots(ledger)) == 2


def test_without_needs_to_say_whom(run: Run) -> None:
    ended = run("snapshot", "build", "--without", "lee")
    assert ended.code == 2
    assert "labeler:NAME" in ended.err
