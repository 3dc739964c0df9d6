"""``whetstone contest``: let labelers judge two policies against each other, and see how it stands."""

from typing import Annotated

import typer

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import contest_results
from feedback import contests as blind
from feedback.contest_results import Result, WinRate

app = typer.Typer(help="Policy against policy, judged blind on held-out customers' prompts.", no_args_is_help=True)


@app.command()
def start(
    a: Annotated[str, typer.Argument(metavar="A", help="A version such as policy-0007, or an alias.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    prompts: Annotated[int, typer.Option("--prompts", min=1, max=5000, help="How many held-out prompts.")] = 100,
    overlap: Annotated[int, typer.Option("--overlap", min=1, max=20, help="Labelers who judge each.")] = 3,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")] = "",
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Ask labelers which of two policies answers better; both must be served, live, previous or as canary."""
    contest = blind.start(ledger(), a, b, prompts=prompts, overlap=overlap, actor=actor, reason=reason)
    if as_json:
        output.show_json(contest)
    else:
        output.say(f"{contest.id}: {contest.a} against {contest.b} on {len(contest.prompts)} prompts of held-out")
        output.say(f"customers; labelers get it before all else, `whetstone contest show {contest.id}` follows it")


@app.command()
def show(
    contest_id: Annotated[str, typer.Argument(metavar="[ID]", help="One contest; all contests if left out.")] = "",
    as_json: Json = False,
) -> None:
    """Show the win rate of A against B, ties as half, with its 95 % interval over prompts."""
    at = ledger()
    if contest_id:
        found = contest_results.result(at, blind.get(at, contest_id))
        output.show_json(found) if as_json else output.show_pairs(rows(found))
        return
    every = [contest_results.result(at, contest) for contest in blind.list_contests(at)]
    if as_json:
        output.show_json(every)
        return
    output.show_table(
        ["ID", "A", "B", "STATE", "PROMPTS DONE", "WIN RATE OF A", "BEGAN"],
        [
            (
                each.contest.id,
                each.contest.a,
                each.contest.b,
                each.contest.state,
                f"{each.finished} of {len(each.contest.prompts)}",
                rate(each.win_rate),
                output.moment(each.contest.created_at),
            )
            for each in every
        ],
    )


def rows(found: Result) -> list[tuple[str, object]]:
    """Return one contest as names and values."""
    contest = found.contest
    return [
        ("id", contest.id),
        ("a", contest.a),
        ("b", contest.b),
        ("state", contest.state),
        ("prompts", len(contest.prompts)),
        ("labelers per prompt", contest.overlap),
        ("finished", found.finished),
        ("both said the same", found.same),
        ("not sampled", found.lost),
        ("win rate of a", rate(found.win_rate)),
        *((f"by group {group or '-'}", rate(each)) for group, each in found.by_group.items()),
        ("began", output.moment(contest.created_at)),
        ("asked for by", contest.actor),
        *([("reason", contest.reason)] if contest.reason else []),
    ]


def rate(found: WinRate) -> str:
    """Return a win rate with its interval and what it rests on, or a dash."""
    if found.mean is None:
        return "-"
    bounds = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.mean:.3f}{bounds} n={found.prompts} ({found.labels} labels)"
