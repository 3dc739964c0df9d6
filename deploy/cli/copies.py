"""``whetstone reconcile``: whether the ledger and the second copy agree; puts back what the ledger lost."""

from typing import Annotated

import typer

from deploy.cli import output
from deploy.cli.session import Json, ledger
from feedback import reconcile
from feedback.settings import Settings

SHOWN = 5
"""Ids named of each kind of difference; the rest is counted."""
DIFFERENCES = ("lost", "uncopied", "different", "duplicated", "damage")


def compare(
    restore: Annotated[bool, typer.Option("--restore", help="Write into the ledger what only the copy has.")] = False,
    as_json: Json = False,
) -> None:
    """Hold the ledger's labels, demonstrations and verdicts against their archive, record by record.

    Exits with 1 if anything is lost, uncopied, different, there twice, or damaged. With --restore, what the ledger lost
    is written back first; it may be repeated.
    """
    at, root = ledger(), Settings.load().artifact_root
    restored = reconcile.restore(at, root) if restore else {}
    found = reconcile.compare(at, root)
    if as_json:
        output.show_json({"restored": restored, "found": found, "agrees": all(each.agrees for each in found)})
    else:
        _show(found, restored)
    if not all(each.agrees for each in found):
        raise typer.Exit(1)


def _show(found: list[reconcile.Finding], restored: dict[str, int]) -> None:
    for name, count in restored.items():
        output.say(f"{count} {name} written back into the ledger")
    headings = ["", "LEDGER", "COPY", "WAITING", "ERASED", "LOST", "UNCOPIED", "DIFFERENT", "TWICE", "DAMAGED"]
    rows = [(*_counts(each), *(len(getattr(each, what)) for what in DIFFERENCES)) for each in found]
    output.show_table(headings, rows)
    for each in found:
        for what in DIFFERENCES:
            named: list[str] = getattr(each, what)
            if named:
                more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
                output.say(f"{each.name}, {what}: {', '.join(named[:SHOWN])}{more}")


def _counts(found: reconcile.Finding) -> tuple[str | int, ...]:
    return found.name, found.in_ledger, found.in_copy, found.waiting, found.erased
