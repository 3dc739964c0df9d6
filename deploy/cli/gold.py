"""``whetstone gold``: comparisons with a known answer, which check labelers; each change is in the audit."""

from typing import Annotated

import typer

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import gold, promotion
from feedback.records import GoldCheck, utc_now

ComparisonId = Annotated[str, typer.Argument(metavar="COMPARISON", help="Id of the comparison.")]
app = typer.Typer(help="Comparisons with a known answer, which check labelers.", no_args_is_help=True)


@app.command()
def add(
    comparison_id: ComparisonId,
    pairs: Annotated[list[str], typer.Argument(metavar="PAIR...", help="Completions as 0>3: 0 must rank above 3.")],
    practice: Annotated[bool, typer.Option("--practice", help="For practice, not as a hidden check.")] = False,
    explanation: Annotated[str, typer.Option(help="Why; shown after a practice item.")] = "",
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Check labelers with a comparison of which the right order of some pairs is known."""
    check = GoldCheck(
        comparison_id=comparison_id,
        created_at=utc_now(),
        pairs=[pair_of(each) for each in pairs],
        source="operator",
        practice=practice,
        explanation=explanation,
    )
    at = ledger()
    gold.add(at, check)
    promotion.note(at, actor, "add gold check", comparison_id)
    if as_json:
        output.show_json(check)
    else:
        output.say(f"{comparison_id} is a {'practice item' if practice else 'hidden check'} now")


@app.command("list")
def list_checks(as_json: Json = False) -> None:
    """List all comparisons with a known answer."""
    found = gold.all_checks(ledger())
    if as_json:
        output.show_json(found)
        return
    output.show_table(
        ["COMPARISON", "SOURCE", "RIGHT ORDER", "USE", "ADDED"],
        [
            (
                each.comparison_id,
                each.source,
                ", ".join(f"{better}>{worse}" for better, worse in each.pairs),
                "practice" if each.practice else "hidden check",
                output.moment(each.created_at),
            )
            for each in found
        ],
    )


@app.command()
def remove(comparison_id: ComparisonId, actor: Actor = "") -> None:
    """Check nobody with this comparison any more."""
    at = ledger()
    gold.remove(at, comparison_id)
    promotion.note(at, actor, "remove gold check", comparison_id)
    output.say(f"{comparison_id} checks nobody any more")


def pair_of(text: str) -> tuple[int, int]:
    """Return (better, worse) of ``0>3``.

    Raises:
        BadParameter: it is something else.
    """
    better, mark, worse = text.partition(">")
    if not mark or not better.strip().isdecimal() or not worse.strip().isdecimal():
        raise typer.BadParameter(f"{text!r} is no pair; write 0>3 (in quotes) if completion 0 must rank above 3")
    return int(better), int(worse)
