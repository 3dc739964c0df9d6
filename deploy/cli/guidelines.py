"""``whetstone guidelines``: publish what labelers are told, and see what is in force."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import guidelines

app = typer.Typer(help="What labelers are told: versioned Markdown.", no_args_is_help=True)


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="Markdown in UTF-8; - reads standard input.", allow_dash=True)],
    change: Annotated[str, typer.Option("--change", help="What is new, in a sentence; labelers read it.")],
    quietly: Annotated[
        bool, typer.Option("--no-acknowledge", help="Labelers go on without having to acknowledge it.")
    ] = False,
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Put a new version in force."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}") from error
    made = guidelines.publish(ledger(), text, change, actor, must_acknowledge=not quietly)
    if as_json:
        output.show_json(made)
    else:
        wait = "labelers go on" if quietly else "labelers acknowledge it before their next item"
        output.say(f"version {made.version} is in force; {wait}")


@app.command()
def show(
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="The one in force if left out.")] = "",
) -> None:
    """Print the Markdown of a version."""
    at = ledger()
    output.say((guidelines.get(at, version) if version else guidelines.current(at)).text.rstrip())


@app.command("list")
def list_versions(as_json: Json = False) -> None:
    """List all versions, the one in force first."""
    found = guidelines.history(ledger())
    if as_json:
        output.show_json(found)
        return
    output.show_table(
        ["VERSION", "PUBLISHED", "BY", "ACKNOWLEDGED", "CHANGE"],
        [
            (
                each.version,
                output.moment(each.created_at),
                each.actor or "built in",
                "required" if each.must_acknowledge else "not required",
                each.change,
            )
            for each in found
        ],
    )
