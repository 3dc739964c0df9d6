"""How answers reach the terminal: JSON for programs, plain tables for people."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_COLUMNS = 200
"""Width of a table that goes into a pipe, so that no id is cut."""


def show_json(value: Any) -> None:
    """Print a value, records included, as one JSON document."""
    print(json.dumps(msgspec.to_builtins(value), indent=2))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings; text that looks like markup is printed as it is."""
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console().print(table)


def show_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line."""
    table = Table.grid(padding=(0, 2))
    for name, value in pairs:
        table.add_row(Text(name, style="bold"), Text(str(value)))
    console().print(table)


def say(line: str) -> None:
    """Print one line for a person."""
    console().print(Text(line), soft_wrap=True)


def console() -> Console:
    """Return a console on standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)


def moment(value: object) -> str:
    """Return a date as ``2026-01-31 09:30``, or a dash."""
    return str(value)[:16].replace("T", " ") if value else "-"
