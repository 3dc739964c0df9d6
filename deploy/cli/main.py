"""The commands of ``whetstone``, and how errors become one line and an exit code."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli import contests, copies, data, gold, guidelines, keys, policies, privacy, rounds, status
from feedback.errors import ConfigError, LedgerUnavailable, WhetstoneError

REFUSED, USAGE, NO_LEDGER = 1, 2, 3

app = typer.Typer(
    name="whetstone",
    help="Whetstone: serve a policy, collect rankings, retrain, swap it in. Commands work on the ledger that "
    "WHETSTONE_LEDGER_URL names, whether or not the API is up.",
    epilog="Exit codes: 0 done, 1 refused or not found, 2 wrong usage or setting, 3 the ledger cannot be reached.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("status")(status.status)
app.command("collect")(status.collect)
app.add_typer(keys.app, name="keys")
app.add_typer(policies.app, name="policies")
app.command("promote")(policies.promote)
app.command("rollback")(policies.roll_back)
app.command("lineage")(policies.show_lineage)
app.add_typer(rounds.app, name="rounds")
app.add_typer(contests.app, name="contest")
app.add_typer(guidelines.app, name="guidelines")
app.add_typer(gold.app, name="gold")
app.add_typer(data.app, name="data")
app.add_typer(data.snapshot_app, name="snapshot")
app.command("erase")(privacy.erase)
app.command("erasures")(privacy.erasures)
app.command("reconcile")(copies.compare)

Directory = Annotated[Path, typer.Option(help="Everything is written here.")]


@app.command()
def up(
    directory: Directory = Path("var/up"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port of the API and the pages.")] = 8000,
    model: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Policy directory to begin with; else the sandbox's."),
    ] = None,
) -> None:
    """Start everything on this machine and stay, until Ctrl-C."""
    from deploy.up import run

    raise typer.Exit(run(directory=directory, port=port, model=model))


@app.command()
def demo(
    directory: Directory = Path("var/demo"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port of the API; 0 takes a free one.")] = 0,
) -> None:
    """Turn the whole loop with simulated customers and labelers and print what was learned."""
    from deploy.demo.main import run

    raise typer.Exit(run(directory=directory, port=port))


def main() -> None:
    """Run the command line; an error that Whetstone raises is one line on standard error and an exit code."""
    try:
        app(prog_name="whetstone")
    except WhetstoneError as error:
        print(f"whetstone: {error}", file=sys.stderr)
        sys.exit(exit_code(error))


def exit_code(error: WhetstoneError) -> int:
    """Return the exit code that an error stands for."""
    if isinstance(error, LedgerUnavailable):
        return NO_LEDGER
    return USAGE if isinstance(error, ConfigError) else REFUSED
