"""``docs/paper.md`` from the figures in ``docs/paper.json``: verdicts, pictures, tables, the paper's figures beside.

Knows the page's order; figures come from `benchmarks.paper.summary`, claims from `benchmarks.paper.findings`, words
from `benchmarks.paper.prose`. ``python -m benchmarks.paper.page`` writes page and pictures anew and runs nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.common import ROOT
from benchmarks.paper import plots, published, summary, tables
from benchmarks.paper.__main__ import SEEDS
from benchmarks.paper.findings import FINDINGS, Claim
from benchmarks.paper.prose import ABLATIONS, DIFFERENCES, DRAWING, INTRODUCTION, READING, RUNNING, SECTIONS, Section
from benchmarks.paper.summary import Results

PAGE, FIGURES, PICTURES = "paper.md", "paper.json", "pictures"
TUNED_ON: Final = {"1", "100"}
"""Seeds on which settings were chosen."""
TABLES: Final[dict[str, Callable[[Results], str]]] = {
    "preference": tables.preference,
    "truth": tables.truth,
    "generalisation": tables.generalisation,
    "kwise": tables.kwise,
    "tax": tables.tax,
    "over_optimisation": tables.over_optimisation,
}
"""By finding."""
_UNITS: Final = {"%": (100.0, 1, " %"), "points": (100.0, 1, " points"), "times": (1.0, 2, " times")}
"""Scale, digits and what stands behind; other units have three digits."""


def make(root: Path, seeds: Sequence[int], docs: Path = ROOT / "docs") -> Results:
    """Collect the results of these seeds, store their figures, write pictures and page; return the figures.

    Raises:
        FileNotFoundError: there is not one result.
    """
    summary.write(summary.collect(root, seeds), docs / FIGURES)
    return rewrite(docs)


def rewrite(docs: Path) -> Results:
    """Write pictures and page from the stored figures, which are returned."""
    results = summary.read(docs / FIGURES)
    drawn = plots.draw(results, docs / PICTURES)
    (docs / PAGE).write_text(render(results, [path.name for path in drawn]))
    return results


def render(results: Results, pictures: Collection[str]) -> str:
    """The page as Markdown; ``pictures`` are the files that there are."""
    claims = [claim for find in FINDINGS.values() for claim in find(results)]
    parts = ["# The paper in miniature", INTRODUCTION, DRAWING, READING, _made(results)]
    parts += ["## Verdicts", _verdicts(claims)]
    for name, section in SECTIONS.items():
        file = plots.file_name(name)
        picture = f"![{section.title}]({PICTURES}/{file})" if file in pictures else ""
        parts += _section(section, picture, TABLES[name](results))
    parts += _section(ABLATIONS, "", tables.ablations(results))
    parts += ["## What differs from the paper", DIFFERENCES, "What to know before citing the paper's own figures:"]
    parts += ["\n".join(f"- {trap}" for trap in published.TRAPS), "## How to run it", RUNNING]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _section(section: Section, picture: str, table: str) -> list[str]:
    return [f"## {section.title}", section.lead, picture, table, section.notes]


def _made(results: Results) -> str:
    run, sizes = results.run, results.run["sizes"]
    cpu_min = sum(run["cpu_s"].values()) / 60
    spent = f"{cpu_min:.0f} CPU-minutes"
    if whole := run.get("whole"):
        seeds = ", ".join(map(str, whole["seeds"]))
        spent += f"; seeds {seeds} took {whole['wall_s'] / 60:.0f} minutes in one go with {whole['workers']} processes"
    if set(results.seeds) & TUNED_ON:
        spent += "; settings were chosen on one of these seeds, so this is no evidence yet"
    if len(results.seeds) == 1:
        spent += "; one seed has no interval, so that nothing is decided yet"
    return (
        f"Each seed has {sizes['demonstrations']} demonstrations, {sizes['ranked']} prompts with {sizes['least_K']} to "
        f"{sizes['most_K']} ranked completions (one labeler each), {sizes['iterations']} iterations of PPO (the "
        f"long run {sizes['long_iterations']}), {sizes['test']} held-out customers' prompts to be judged by and "
        f"{sizes['unstated']} closed-domain ones without an answer. Seeds {', '.join(results.seeds)}; {spent}; commit "
        f"{', '.join(run['commit'])}."
    )


def _verdicts(claims: Iterable[Claim]) -> str:
    rows = []
    for claim in claims:
        scale, digits, unit = _UNITS.get(claim.unit, (1.0, 3, f" {claim.unit}"))
        here = tables.show(claim.measured, scale=scale, digits=digits, unit=unit)
        rows.append([claim.says, tables.printed(claim.printed), here, f"**{claim.verdict}**"])
    return tables.table(["Claim", "The paper", "Here", "Verdict"], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write page and pictures; 0 when they are there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.page", description="Write docs/paper.md anew.")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="directory of paper.json (default docs)")
    parser.add_argument("--results", type=Path, help="collect the figures from these results first")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of the results (default 2 3 4)")
    given = parser.parse_args(arguments)
    if given.results:
        make(given.results, given.seeds, given.docs)
    else:
        rewrite(given.docs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
