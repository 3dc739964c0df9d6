"""Fifty items, a test of each, and at least one way to break each that its test notices."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.checklist.break_each import TABLE
from tests.trainer.checklist.mutation import ROOT, Mutation, node_ids
from tests.trainer.checklist.mutations import MUTATIONS

ITEMS = range(1, 51)
PAGE = ROOT / "docs" / "trainer-checklist.md"
LONGEST_S = 540


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """What ``break_each`` found, by mutation; kept for the table at the end of the run."""
    directory = tmp_path_factory.mktemp("mutations")
    line = [sys.executable, "-m", "tests.trainer.checklist.break_each", str(directory)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(row) for row in (directory / "verdicts.jsonl").read_text().splitlines()]
    request.config.stash[TABLE] = found
    return {each["name"]: each for each in found}


def test_every_item_has_one_test_and_a_mutation() -> None:
    assert sorted(node_ids()) == list(ITEMS)
    assert {mutation.item for mutation in MUTATIONS} == set(ITEMS)
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.slow
def test_all_items_pass_on_the_true_code(verdicts: dict[str, dict[str, Any]]) -> None:
    assert verdicts["true code"]["verdict"] == "passed", verdicts["true code"]["said"]


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_detail_is_noticed(mutation: Mutation, verdicts: dict[str, dict[str, Any]]) -> None:
    verdict = verdicts[mutation.name]
    assert verdict["verdict"] == "noticed", f"{verdict['verdict']}: {verdict['said'] or 'the test passed'}"


def test_a_text_that_is_not_there_once_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Mutation(7, "trainer.maths.advantages", "no such text", "", "nothing")
    with pytest.raises(LookupError, match=r"'07 nothing': its text occurs 0 times in trainer\.maths\.advantages"):
        lost.source()
    with pytest.raises(LookupError, match=r"occurs [0-9]+ times"):
        Mutation(7, "trainer.maths.advantages", "mask_BA", "", "everything").source()


def test_the_page_names_every_item_its_test_and_its_mutations() -> None:
    items = PAGE.read_text().split("## The items")[1]
    rows = [line.strip("|").split("|") for line in items.splitlines() if re.match(r"\| \d", line)]
    page = {int(cells[0]): [cell.strip() for cell in cells[1:]] for cells in rows}
    assert len(rows) == len(page)
    assert sorted(page) == list(ITEMS)
    for item, (detail, where, test, broken) in page.items():
        of_item = [mutation for mutation in MUTATIONS if mutation.item == item]
        assert detail
        assert re.findall(r"`([^`]+)`", where) == sorted({str(m.path.relative_to(ROOT / "trainer")) for m in of_item})
        assert test == f"`{node_ids()[item].split('::')[1]}`", item
        assert broken == "; ".join(mutation.what for mutation in of_item), item
