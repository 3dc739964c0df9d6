"""The demonstration's report: the figures, the bars they are held against, and a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.demo.director import Story
from deploy.demo.measure import agreement
from deploy.demo.traffic import Reference, count_faults, in_flight_at
from feedback import comparisons, interactions, labels, lineage, policies, snapshots
from feedback.client import Ledger
from feedback.records import Comparison, Label

MIN_STREAMS = 8


def bookkeeping(ledger: Ledger, root: Path, story: Story) -> dict[str, Any]:
    """Return what was asked, logged and judged, and whether every label and every link is accounted for."""
    taken = [label for _, label in labels.current(ledger)]
    ours = [label for label in taken if label.purpose not in ("gold", "repeat")]  # checks never train
    frozen = snapshots.list_snapshots(ledger)
    accounted = set().union(*(set(each.labels) | set(each.left_out) for each in frozen)) if frozen else set()
    return {
        "prompts_served": story.tally.served,
        "prompts_served_with_consent": story.tally.served_with_consent,
        "prompts_logged": interactions.count(ledger),
        "comparisons": len({label.comparison_id for label in taken}),
        "labels": len(taken),
        "labels_submitted": story.tally.labels,
        "labels_unaccounted": len({label.id for label in ours} - accounted),
        "demonstrations": story.tally.demonstrations,
        "agreement": {group: agreement(of_group(ledger, taken, group)) for group in ("training", "held-out")},
        "lineage_ok": not lineage.verify(ledger, "live", root),
        "lineage_faults": lineage.verify(ledger, "live", root),
    }


def of_group(ledger: Ledger, taken: list[Label], group: str) -> list[Label]:
    """Return the labels that one group of labelers gave to the comparisons that measure agreement."""
    mine = [label for label in taken if label.labeler_group == group]
    found = comparisons.get_many(ledger, [label.comparison_id for label in mine])
    return [label for label, each in zip(mine, found, strict=True) if each and each.purpose == "agreement"]


def compared(ledger: Ledger, purpose: str) -> list[Comparison]:
    """Return the labelled comparisons of a purpose."""
    ids = sorted({label.comparison_id for _, label in labels.read(ledger)})
    return [each for each in comparisons.get_many(ledger, ids) if each and each.purpose == purpose]


def swap_figures(story: Story, reference: Reference) -> dict[str, Any]:
    """Return the counts of what went wrong over all swaps, and one entry per swap.

    ``requests_in_flight`` is what clients saw when the pointer moved: requests sent and not yet answered to the end,
    the least of all swaps. ``in_old_slot`` is how many of them the replica counted inside the old engine at that
    instant; it can be 0, where all had just been answered there and the next ones still waited at the door.
    """
    total = count_faults(story.answers, reference)
    return {
        "count": len(story.swaps),
        "requests": total["requests"],
        "requests_in_flight": min((in_flight_at(seen, event) for event, seen in story.swaps), default=0),
        "in_old_slot": [event.in_flight for event, _ in story.swaps],
        "failed": total["failed"],
        "truncated": total["truncated"],
        "mixed_version": total["mixed_version"],
        "load_s": round(max((event.load_s for event, _ in story.swaps), default=0.0), 3),
        "each": [
            {
                "version": event.version,
                "load_s": round(event.load_s, 3),
                "requests_in_flight": in_flight_at(seen, event),
                "in_old_slot": event.in_flight,
                **count_faults(seen, reference),
            }
            for event, seen in story.swaps
        ],
    }


def policy_entries(ledger: Ledger, gold: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one entry per policy: version, kind, parent, snapshot, gold figures."""
    return [
        {
            "version": policy.version,
            "kind": policy.kind,
            "parent": policy.parent,
            "snapshot": policy.snapshot_id,
            **gold.get(policy.version, {}),
        }
        for policy in policies.list_policies(ledger)
    ]


def bars(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the bars of the demonstration: ``{name, value, op, target, pass}``."""
    final = report["win_rate"].get(report["final"], {"sft": {"low": 0.0}, "base": {"mean": 0.0}})
    swaps = report["swaps"]
    rows: list[tuple[str, Any, str, Any]] = [
        ("final against SFT, win_rate.low", final["sft"]["low"], ">", 0.5),
        ("final against base, win_rate.mean", final["base"]["mean"], ">=", 0.75),
        ("swaps.failed", swaps["failed"], "==", 0),
        ("swaps.truncated", swaps["truncated"], "==", 0),
        ("swaps.mixed_version", swaps["mixed_version"], "==", 0),
        ("swaps.requests_in_flight", swaps["requests_in_flight"], ">=", MIN_STREAMS),
        ("prompts_logged", report["prompts_logged"], "==", report["prompts_served_with_consent"]),
        ("labels", report["labels"], "==", report["labels_submitted"]),
        ("labels_unaccounted", report["labels_unaccounted"], "==", 0),
        ("lineage_ok", report["lineage_ok"], "==", True),
        ("wall_s", report["wall_s"], "<=", 8 * 60),
    ]
    holds = {">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "==": lambda a, b: a == b}
    return [
        {"name": name, "value": value, "op": op, "target": target, "pass": bool(holds[op](value, target))}
        for name, value, op, target in rows
    ]


def write(report: Mapping[str, Any], path: Path) -> None:
    """Write the report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, default=str) + "\n")


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the policies and the bars as tables."""
    board = Table(title="policies, judged by the gold taste on held-out customers' prompts")
    for column in ("version", "kind", "gold score", "beats SFT", "beats base", "invents", "rude"):
        board.add_column(column, justify="left" if column in ("version", "kind") else "right")
    for entry in report["policies"]:
        rates = report["win_rate"].get(entry["version"], {})
        board.add_row(
            entry["version"],
            entry["kind"],
            _score(entry.get("gold_score")),
            _rate(rates.get("sft")),
            _rate(rates.get("base")),
            f"{entry.get('hallucination_rate', float('nan')):.0%}",
            f"{entry.get('rude_rate', float('nan')):.0%}",
        )
    console.print(board)
    checks = Table(title=f"bars ({report['wall_s']:.0f} s in all)")
    for column in ("", "value", "bar"):
        checks.add_column(column)
    for bar in report["bars"]:
        mark = "[green]met[/]" if bar["pass"] else "[red]MISSED[/]"
        checks.add_row(f"{mark} {bar['name']}", str(bar["value"]), f"{bar['op']} {bar['target']}")
    console.print(checks)


def _score(found: Mapping[str, float] | None) -> str:
    return f"{found['mean']:+.2f}" if found else "-"


def _rate(found: Mapping[str, float] | None) -> str:
    return f"{found['mean']:.0%} ({found['low']:.0%}-{found['high']:.0%})" if found else "-"
