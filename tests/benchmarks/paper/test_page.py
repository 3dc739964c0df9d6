"""The page is what the code writes from the stored figures, and says of every claim what its interval says."""

from dataclasses import replace
from pathlib import Path

from benchmarks.common import ROOT
from benchmarks.paper import page, summary
from benchmarks.paper.findings import FINDINGS
from benchmarks.paper.plots import PICTURES, file_name
from benchmarks.paper.prose import SECTIONS
from benchmarks.paper.summary import Results

DOCS = ROOT / "docs"


def test_the_committed_page_is_what_the_stored_figures_give() -> None:
    results = summary.read(DOCS / page.FIGURES)
    names = [file_name(finding) for finding in PICTURES]
    there = [name for name in names if (DOCS / page.PICTURES / name).is_file()]
    assert (DOCS / page.PAGE).read_text() == page.render(results, there)


def test_page_and_pictures_are_made_from_results(made_up_root: Path, tmp_path: Path) -> None:
    results = page.make(made_up_root, (1, 2, 3), tmp_path)
    text = (tmp_path / page.PAGE).read_text()
    assert text.startswith("# The paper in miniature\n")
    for finding, section in SECTIONS.items():
        assert f"## {section.title}\n" in text
        assert f"({page.PICTURES}/{file_name(finding)})" in text
        drawn = (tmp_path / page.PICTURES / file_name(finding)).read_bytes()
        assert drawn.startswith(b"\x89PNG")
        assert len(drawn) > 5000
    claims = [claim for find in FINDINGS.values() for claim in find(results)]
    for claim in claims:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {claim.says} |")]
        assert row.endswith(f"| **{claim.verdict}** |")


def test_a_page_without_pictures_names_none(made_up_results: Results) -> None:
    assert "![" not in page.render(made_up_results, [])
    assert page.render(made_up_results, []).count("\n## ") == len(SECTIONS) + 4


def test_the_time_of_a_whole_run_is_told_only_when_there_was_one(made_up_results: Results) -> None:
    assert "in one go" not in page.render(made_up_results, [])
    took = {"wall_s": 2400.0, "workers": 2, "seeds": [2, 3]}
    whole = replace(made_up_results, run={**made_up_results.run, "whole": took})
    assert "seeds 2, 3 took 40 minutes in one go with 2 processes" in page.render(whole, [])


def test_one_seed_decides_nothing_and_the_page_says_so(made_up_root: Path) -> None:
    text = page.render(summary.collect(made_up_root, (2,)), [])
    assert "one seed has no interval" in text
    assert "**holds**" not in text.split("## Verdicts")[1]
    assert "nan" not in text
