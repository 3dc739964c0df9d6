"""Documentation: says what the code says, and points at what exists."""

import re
from pathlib import Path

import pytest

from docs import generate
from feedback.settings import Settings
from tests.sources import ROOT, files, texts

NOT_SETTINGS = {
    "WHETSTONE_DATA": "where tests find real data",
    "WHETSTONE_PARENT_PID": "passed by serve to the processes of its engines",
}
"""Variables with our prefix that no process reads, and what they are."""
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PARTS_OF_A_DECISION = ("## Status", "## Context", "## Decision", "## Consequences", "Evidence:", "Reverse if:")
DOCS = files(".md")


def tree() -> dict[str, str]:
    """Return path -> words of the tree in the README; directories end in a slash."""
    block = (ROOT / "README.md").read_text().split("<!-- tree -->")[1].split("<!-- /tree -->")[0]
    found: dict[str, str] = {}
    path: list[str] = []
    for line in block.splitlines():
        if not line.strip() or line.startswith("```"):
            continue
        name, words = line.strip().split(maxsplit=1)
        depth = (len(line) - len(line.lstrip())) // 2
        path = [*path[:depth], name]
        found["".join(path)] = words
    return found


@pytest.mark.parametrize("page", generate.pages(), ids=lambda page: page.name)
def test_generated_pages_are_what_the_code_says(page: Path) -> None:
    assert page.read_text() == generate.pages()[page], "run `python docs/generate.py`"


def test_every_setting_is_documented_with_a_meaning() -> None:
    for process in generate.PROCESSES:
        kind, _ = generate.process_settings(process)
        described = generate.fields_of(kind)
        for name in kind.model_fields:
            assert described[name][1].endswith("."), f"{process}: {name} has no docstring"


def test_no_setting_means_two_things() -> None:
    owners: dict[str, str] = dict.fromkeys(Settings.model_fields, "all processes")
    for process in generate.PROCESSES:
        for name in generate.process_settings(process)[1]:
            assert name not in owners, f"WHETSTONE_{name.upper()} is read by {owners[name]} and by {process}"
            owners[name] = process


def test_every_variable_that_is_named_anywhere_is_a_setting() -> None:
    known = {f"WHETSTONE_{name.upper()}" for name in Settings.model_fields} | set(NOT_SETTINGS)
    for process in generate.PROCESSES:
        known |= {f"WHETSTONE_{name.upper()}" for name in generate.process_settings(process)[1]}
    for path in texts():
        if path.parts[0] == "tests":
            continue
        for name in re.findall(r"\bWHETSTONE_[A-Z0-9_]*[A-Z0-9]\b", (ROOT / path).read_text()):
            assert name in known, f"{path} names {name}, which no process reads"


def test_the_trees_entries_exist_and_every_directory_is_in_it() -> None:
    entries = tree()
    for entry in entries:
        assert (ROOT / entry).is_dir() if entry.endswith("/") else (ROOT / entry).is_file(), entry
    for path in files():
        for parent in path.parents[:-1]:
            if parent.parts[0] == "tests" and len(parent.parts) > 1:
                continue
            assert f"{parent}/" in entries, f"the README's tree lacks {parent}/"


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCS:
        for target in LINK.findall((ROOT / path).read_text()):
            if not re.match(r"[a-z]+:|#", target):
                assert (ROOT / path.parent / target.split("#")[0]).exists(), f"{path} links to {target}"


def test_files_and_directories_named_in_documents_exist() -> None:
    name_of_ours = re.compile(r"`((?:feedback|serve|workers|trainer|sandbox|deploy|tests|docs|requirements)/[\w./-]*)`")
    for path in DOCS:
        for name in name_of_ours.findall((ROOT / path).read_text()):
            assert (ROOT / name).exists(), f"{path} names {name}"


def test_make_targets_named_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCS:
        for target in re.findall(r"`(?:\w+=\S+ )?make ([a-z-]+)`", (ROOT / path).read_text()):
            assert target in targets, f"{path} names make {target}"


def test_the_first_screen_has_the_picture_and_the_two_commands() -> None:
    first = (ROOT / "README.md").read_text().split("## ")[0]
    assert "docs/pictures/loop.svg" in first
    for part in ("make demo", "make test", "<!-- demo-output -->", "<!-- /demo-output -->"):
        assert part in first
    assert len(first.splitlines()) <= 60


def test_decisions_are_numbered_dated_and_complete() -> None:
    found = sorted((ROOT / "docs/adr").glob("*.md"))
    numbers = [int(path.name.split("-")[0]) for path in found]
    assert len(set(numbers)) == len(numbers) > 0
    for path, number in zip(found, numbers, strict=True):
        text = path.read_text()
        assert text.startswith(f"# {number}. "), path.name
        assert re.search(r"^\d{4}-\d\d-\d\d$", text, re.MULTILINE), f"{path.name} has no date"
        for part in PARTS_OF_A_DECISION:
            assert part in text, f"{path.name} lacks {part}"


def test_the_glossary_is_in_the_order_of_the_alphabet() -> None:
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)[2:]
    words = [word.strip("`").lower().replace("_", " ") for word in rows]
    assert words == sorted(words)


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    text = (ROOT / "docs/pictures/loop.svg").read_text()
    assert not re.search(r"(href|src)=|@import|url\(http|<script", text)
    assert "prefers-color-scheme: dark" in text
