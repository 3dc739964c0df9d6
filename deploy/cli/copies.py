"""``whetstone reconcile``: whether the ledger and the second copy of what people judged agree, and put back the rest."""

from typing import Annotated

import typer

from deploy.cli import output
from deploy.cli.session import Json, ledger
from feedback import reconcile
from feedback.settings import Settings

SHOWN = 5
"""Ids named of each kind of difference; the rest is counted."""


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
    rows = [
        (each.name, each.in_ledger, each.in_copy, each.waiting, each.erased)
        + tuple(len(ids) for ids in (each.lost, each.uncopied, each.different, each.duplicated, each.damage))
        for each in found
    ]
    output.show_table(headings, rows)
    for each in found:
        for what in ("lost", "uncopied", "different", "duplicated", "damage"):
            named: list[str] = getattr(each, what)
            if named:
                more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
                output.say(f"{each.name}, {what}: {', '.join(named[:SHOWN])}{more}")
