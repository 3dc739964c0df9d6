"""``whetstone status`` and ``whetstone collect``: the loop at a glance, and what labelers are asked for."""

from typing import Annotated, Any

import typer

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import collection, promotion
from feedback.overview import overview, replicas


def status(as_json: Json = False) -> None:
    """Show what is live, what waits, how much there is, and which replicas answer."""
    at = ledger()
    found = overview(at) | {"replicas": replicas(at)}
    if as_json:
        output.show_json(found)
        return
    output.show_pairs(
        [
            *((alias, found["aliases"].get(alias, "-")) for alias in ("live", "previous", "candidate")),
            ("canary", trial(found["canary"])),
            *((f"{name} logged" if name == "interactions" else name, n) for name, n in found["counts"].items()),
            *((f"waiting, {name.replace('_', ' ')}", count) for name, count in found["queues"].items()),
            ("dead letters", found["dead_letters"]),
            *((f"buried, {reason}", count) for reason, count in sorted(found["buried"].items())),
            ("collecting", found["collect"]),
            ("round", current_round(found)),
            ("next round", next_round(found)),
            *((f"replica {name}", held(said)) for name, said in found["replicas"].items()),
            *([] if found["replicas"] else [("replicas", "none answers")]),
        ]
    )


def collect(
    what: Annotated[str, typer.Argument(metavar="[WHAT]", help="demonstrations, comparisons or both.")] = "",
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Show or change what labelers are asked for; prompts that are not wanted now wait."""
    at = ledger()
    if what:
        collection.collect(at, what)
        promotion.note(at, actor, "collect", what)
    found = collection.collected(at)
    if as_json:
        output.show_json({"collect": found})
    else:
        output.say(f"collecting {found}")


def trial(canary: dict[str, Any] | None) -> str:
    """Return the canary in words."""
    return f"{canary['version']} for {canary['share']} % of the callers of live" if canary else "-"


def current_round(found: dict[str, Any]) -> str:
    """Return the latest round in words."""
    latest, asked = found["round"], found["round_requested"]
    words = [f"{latest['id']} ({latest['kind']}) {latest['state']} {latest['stage']}".rstrip()] if latest else []
    if latest and latest["reason"]:
        words.append(f"because {latest['reason']}")
    return "; ".join([*words, *([f"{asked} asked for"] if asked else [])]) or "none yet"


def next_round(found: dict[str, Any]) -> str:
    """Return what the next round waits for, in words."""
    if found["round"] and found["round"]["state"] == "running":
        return "after the running one"
    said = found["round_outlook"]
    return "; ".join(said["waits_for"]) or "begins now" if said else "no trainer says anything"


def held(said: dict[str, Any]) -> str:
    """Return a replica's slots in words."""
    slots = said.get("slots", [])
    return ", ".join(" ".join(str(slot.get(key, "")) for key in ("slot", "version", "state")).strip() for slot in slots)
