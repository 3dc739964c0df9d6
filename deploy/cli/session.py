"""What every command needs: the ledger, and the name under which it acts."""

import getpass
from typing import Annotated

import typer

from feedback.client import Ledger
from feedback.settings import Settings


def acting(name: str) -> str:
    """Return the name under which a command acts: the given one, else that of the person at the terminal."""
    try:
        return name.strip() or getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Actor = Annotated[
    str,
    typer.Option("--actor", help="Name that the audit keeps.", show_default="your login name", callback=acting),
]


def ledger() -> Ledger:
    """Return the ledger that WHETSTONE_LEDGER_URL names.

    Raises:
        ConfigError: a setting is malformed.
        LedgerUnavailable: nothing answers there.
    """
    return Ledger.connect(Settings.load())
