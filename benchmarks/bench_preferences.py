"""How well a small reward model learns six sets of real human preferences, beside length and a bag of words.

Everything runs as users run it: ``python -m trainer pretrain``, ``sft``, ``reward`` and ``score``. A base is pretrained
on public-domain books and dialogue text and fine-tuned on human demonstrations; then each fold gets reward models, one
trained on all sets together and one on each set by itself. Every row is scored once by each kind, by the model that saw
none of the rows with its prompt; the bag of words is fitted on the same rows.

A killed bench goes on with ``--go-on``: the same command of the trainer goes on, or says what it had found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from benchmarks.common import ROOT, Bar, log, report
from benchmarks.preference_baselines import Scores, accuracies, bag_of_words, longer
from benchmarks.preference_runs import RECIPES, judge_fold, make_base
from benchmarks.preference_sets import Row, deal, read_set, real_data

RESAMPLES = 2000
SCORERS = ("all_sets", "own_set", "bag_of_words", "longer")
"""Reward models of both kinds, and what they must beat."""
PUBLISHED = {
    "pref-hh-harmless": {"bag_of_words": 0.59, "longer": 0.44},
    "pref-oasst-ranked": {"longer": 0.69},
    "pref-pandalm-3annotators": {"bag_of_words": 0.68, "longer": 0.66},
    "pref-qa-feedback-k4": {"bag_of_words": 0.54},
}
"""Accuracies in the sets' own descriptions, on splits and rows of their own."""


def bags(rows: Sequence[Row], folds: Mapping[str, int]) -> Scores:
    """Return the bag of words' score of every row, fitted for each set by itself on the rows of other folds."""
    found: dict[str, Sequence[float]] = {}
    for name in sorted({row.set for row in rows}):
        own = [row for row in rows if row.set == name]
        for fold in sorted(set(folds.values())):
            train = [row for row in own if folds[row.key] != fold and row.pairs]
            found |= bag_of_words(train, [row for row in own if folds[row.key] == fold])
    return found


def by_set(rows: Sequence[Row], scorers: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    """Return each set's counts, every scorer's accuracy on the same pairs, and what its description says."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({row.set for row in rows}):
        own = [row for row in rows if row.set == name]
        figures = {
            each: value.rounded() for each, value in accuracies(own, scorers, resamples=RESAMPLES, seed=0).items()
        }
        sizes = [len(row.texts) for row in own]
        found[name] = {
            "rows": len(own),
            "prompts": len({row.key for row in own}),
            "k": [min(sizes), max(sizes)],
            "pairs": sum(len(row.pairs) for row in own),
            "ties": sum(each["winner"] == "tie" for row in own for each in row.comparisons),
            **figures,
            "published": PUBLISHED.get(name, {}),
        }
    return found


def table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures as text, a line a set: accuracy in percent with its interval."""

    def cell(accuracy: Mapping[str, float]) -> str:
        return f"{100 * accuracy['value']:.1f} [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"

    rows = [["set", "rows", "K", "pairs", *(name.replace("_", " ") for name in SCORERS), "described: bag, longer"]]
    for name, found in sets.items():
        described = ", ".join(
            f"{100 * found['published'][key]:.0f}" if key in found["published"] else "-"
            for key in ("bag_of_words", "longer")
        )
        low, high = found["k"]
        size = str(low) if low == high else f"{low}-{high}"
        accuracy = [cell(found[key]) for key in SCORERS]
        rows.append([name, str(found["rows"]), size, str(found["pairs"]), *accuracy, described])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", choices=list(RECIPES), default="full", help="quick is to see whether it works")
    parser.add_argument("--go-on", action="store_true", help="keep the folds that an earlier, killed bench finished")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    root, home = real_data(), ROOT / "var" / "bench" / "preferences"
    recipe = RECIPES[arguments.recipe]
    sets = sorted(root.glob("pref-*"))
    rows = [row for directory in sets for row in read_set(directory, recipe.prompt_bytes)]
    folds = deal(rows, recipe.folds)
    if not arguments.go_on:
        for directory in home.glob("fold-*"):
            shutil.rmtree(directory)
    policy, base = make_base(home, root, [row.key for row in rows], recipe)
    names = ["", *(directory.name for directory in sets)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    jobs = [(fold, name) for name in names for fold in range(recipe.folds)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool, tqdm(total=len(jobs), desc="reward models") as bar:
        running = [pool.submit(judge_fold, home, fold, rows, folds, policy, recipe, name) for fold, name in jobs]
        for (_, name), job in zip(jobs, running, strict=True):
            found[name].append(job.result())
            bar.update()
    log("fitting the bags of words")
    everything = [each for name in names for each in found[name]]
    together = {row: rewards for each in found[""] for row, rewards in each["scores"].items()}
    alone = {row: rewards for name in names[1:] for each in found[name] for row, rewards in each["scores"].items()}
    judged = [row for row in rows if row.id in together and row.id in alone]
    kinds = (together, alone, bags(judged, folds), longer(judged))
    measured = by_set(judged, dict(zip(SCORERS, kinds, strict=True)))
    print(table(measured), file=sys.stderr)
    leaks = sum(len(each["train_keys"] & each["test_keys"]) for each in everything)
    figures = {
        "recipe": {"name": arguments.recipe} | asdict(recipe),
        "base": base,
        "sets": measured,
        "reward_s": [each["trained"]["wall_s"] for each in everything],
        "bad_rows": sum(each[stage]["data"]["bad_rows"] for each in everything for stage in ("trained", "scored")),
        "rows_not_scored": len(rows) - len(judged),
        "wall_s": round(time.monotonic() - began_s, 1),
        "resumed": arguments.go_on,
    }
    bars = [
        Bar("sets_trained_and_scored", len(measured), "==", len(sets)),
        Bar("prompts_trained_on_and_tested_on", leaks, "==", 0),
        Bar("bad_rows", figures["bad_rows"], "==", 0),
        Bar("rows_not_scored", figures["rows_not_scored"], "==", 0),
    ]
    report("preferences", figures, bars)


if __name__ == "__main__":
    main()
