"""``whetstone rounds``: ask for training rounds and look at them."""

from typing import Annotated

import typer

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import promotion
from feedback import rounds as training_rounds

app = typer.Typer(help="Training rounds: snapshot, train, evaluate, register.", no_args_is_help=True)


@app.command()
def start(kind: Annotated[str, typer.Argument(help="sft or ppo.")], actor: Actor = "", as_json: Json = False) -> None:
    """Ask the trainer for a round as soon as it is free."""
    at = ledger()
    training_rounds.request(at, kind)
    promotion.note(at, actor, "ask for round", kind)
    if as_json:
        output.show_json({"requested": kind})
    else:
        output.say(f"a {kind} round is asked for; `whetstone rounds show` follows it")


@app.command()
def cancel(actor: Actor = "", as_json: Json = False) -> None:
    """Give up the round that runs, or take back the request for one; within seconds, and nothing is registered."""
    at = ledger()
    ended = training_rounds.cancel(at)
    promotion.note(at, actor, "cancel round", ended or "request")
    if as_json:
        output.show_json({"cancelled": ended})
    else:
        output.say(f"{ended} ends within seconds" if ended else "the request for a round is taken back")


@app.command()
def show(
    round_id: Annotated[str, typer.Argument(metavar="[ID]", help="One round; all rounds if left out.")] = "",
    as_json: Json = False,
) -> None:
    """Show one round with its stages, or all rounds."""
    at = ledger()
    if round_id:
        found = training_rounds.get(at, round_id)
        if as_json:
            output.show_json(found)
            return
        output.show_pairs(
            [
                ("id", found.id),
                ("kind", found.kind),
                ("state", found.state),
                ("why", found.reason or "-"),
                ("stage", found.stage or "-"),
                ("snapshot", found.snapshot_id or "-"),
                ("reward model", found.reward_model_id or "-"),
                ("policy", found.version or "-"),
                ("began", output.moment(found.created_at)),
                ("ended", output.moment(found.finished_at)),
                *((f"{stage}, seconds", f"{seconds:.1f}") for stage, seconds in found.seconds.items()),
                *([("error", found.error)] if found.error else []),
            ]
        )
        return
    every = training_rounds.list_rounds(at)
    if as_json:
        outlook = training_rounds.outlook(at)
        output.show_json({"rounds": every, "requested": training_rounds.requested(at), "outlook": outlook})
        return
    output.show_table(
        ["ID", "KIND", "STATE", "STAGE", "POLICY", "BEGAN", "SECONDS", "WHY"],
        [
            (
                each.id,
                each.kind,
                each.state,
                each.stage or "-",
                each.version or "-",
                output.moment(each.created_at),
                f"{sum(each.seconds.values()):.0f}",
                each.reason or "-",
            )
            for each in every
        ],
    )
    asked = training_rounds.requested(at)
    if asked:
        output.say(f"asked for and not started: {asked}")
