"""``whetstone policies``, ``promote``, ``rollback``, ``lineage``: versions, the ``live`` alias and the canary."""

from typing import Annotated, Any

import msgspec
import typer

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import canary, lineage, policies, promotion
from feedback.client import Ledger
from feedback.errors import ConfigError
from feedback.promotion import Thresholds
from feedback.records import Canary, Policy
from feedback.settings import Settings

Name = Annotated[str, typer.Argument(metavar="POLICY", help="A version such as policy-0007, or an alias.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]

app = typer.Typer(help="List policies; route a share of the callers to one.", invoke_without_command=True)


@app.callback()
def default(context: typer.Context, as_json: Json = False) -> None:
    """List all policies with their figures, or do what the subcommand says."""
    if context.invoked_subcommand is None:
        list_policies(as_json)


@app.command("canary")
def route_canary(
    name: Annotated[
        str, typer.Argument(metavar="[POLICY]", help="A version or an alias; without one, the canary is shown.")
    ] = "",
    share: Annotated[
        int | None,
        typer.Option("--share", min=0, max=100, help="Percent of the callers of live; 0 only keeps it loaded."),
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="Route nobody to the canary any more.")] = False,
    reason: Reason = "",
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Route a share of the callers of live to another policy; promoting and rolling back end that."""
    if end and (name or share is not None):
        raise ConfigError("--end takes neither a policy nor --share; at most one canary runs")
    if bool(name) != (share is not None):
        raise ConfigError("name a policy and its --share, in percent of the callers; or --end")
    at, said = ledger(), "answers {share} % of the callers of live"
    found: Canary | None
    if share is not None:
        found = canary.begin(at, name, share, actor, reason)
    elif end:
        found, said = canary.end(at, actor, reason), "is no canary any more"
    else:
        found = canary.running(at)
    if as_json:
        output.show_json({"canary": None if end else found, **({"ended": found} if end else {})})
    else:
        output.say(f"{found.version} {said.format(share=found.share)}" if found is not None else "no canary runs")


def list_policies(as_json: Json = False) -> None:
    """List all policies with their figures and what the gate says of them."""
    at = ledger()
    aliases = policies.aliases(at)
    rows = [described(at, policy, aliases) for policy in policies.list_policies(at)]
    if as_json:
        output.show_json(rows)
        return
    output.show_table(
        ["VERSION", "KIND", "PARENT", "ALIASES", "WIN RATE AGAINST LIVE", "GATE", "CREATED"],
        [
            (
                row["version"],
                row["kind"],
                row["parent"] or "-",
                ", ".join(row["aliases"]) or "-",
                win_rate(row["figures"]),
                "pass" if row["decision"]["promote"] else "refuse",
                output.moment(row["created_at"]),
            )
            for row in rows
        ],
    )


def promote(
    name: Name,
    override: Annotated[bool, typer.Option("--override", help="Promote against the gate; needs --reason.")] = False,
    reason: Reason = "",
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Make a policy live if the gate lets it pass; serving replicas swap it in without a pause."""
    if override and not reason.strip():
        raise ConfigError("--override needs --reason; it is kept in the audit")
    at = ledger()
    policy = policies.get(at, name)
    decision = promotion.gate(policy, policies.report(at, policy.version), Thresholds())
    moved = decision.promote or override
    if not decision.promote and not override:
        failed = [line for line in decision.reasons if line.startswith("FAIL")]
        promotion.note(at, actor, "promote refused", policy.version, "; ".join(failed))
    if moved:
        promotion.promote(at, policy.version, actor, reason if decision.promote else f"override: {reason}")
    if as_json:
        output.show_json({"version": policy.version, "promoted": moved, "decision": decision})
    else:
        output.show_table(["CHECK", "RESULT"], [check(line) for line in decision.reasons])
        output.say(f"{policy.version} is live" if moved else f"the gate refuses {policy.version}; nothing was changed")
    if not moved:
        raise typer.Exit(1)


def roll_back(reason: Reason = "", actor: Actor = "", as_json: Json = False) -> None:
    """Make the previous policy live again."""
    version = promotion.roll_back(ledger(), actor, reason)
    if as_json:
        output.show_json({"version": version})
    else:
        output.say(f"{version} is live again")


def show_lineage(
    name: Name,
    verify: Annotated[bool, typer.Option("--verify", help="Check every file against its recorded SHA-256.")] = False,
    as_json: Json = False,
) -> None:
    """Trace a policy back over its parents to the labels that made it."""
    at = ledger()
    chain = lineage.trace(at, name)
    faults = lineage.verify(at, name, Settings.load().artifact_root) if verify else []
    if as_json:
        output.show_json({"chain": chain, **({"faults": faults} if verify else {})})
    else:
        output.show_table(
            ["VERSION", "KIND", "PARENT", "ROUND", "REWARD MODEL", "SNAPSHOT", "LABELS", "DEMONSTRATIONS"],
            [ancestor(entry) for entry in chain],
        )
        for fault in faults:
            output.say(f"fault: {fault}")
        if verify and not faults:
            output.say("every link and every file checks out")
    if faults:
        raise typer.Exit(1)


def described(at: Ledger, policy: Policy, aliases: dict[str, str]) -> dict[str, Any]:
    """Return a policy with its aliases, figures and the gate's word."""
    report = policies.report(at, policy.version)
    return {
        **msgspec.to_builtins(policy),
        "aliases": sorted(alias for alias, version in aliases.items() if version == policy.version),
        "figures": report.figures if report is not None else None,
        "decision": msgspec.to_builtins(promotion.gate(policy, report, Thresholds())),
    }


def win_rate(figures: dict[str, Any] | None) -> str:
    """Return a win rate with its interval and the number of prompts, or a dash."""
    found = (figures or {}).get("win_rate")
    if not isinstance(found, dict) or not {"mean", "low", "high", "n"} <= set(found):
        return "-"
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}] n={found['n']}"


def check(line: str) -> tuple[str, str]:
    """Split a line of the gate into (what was checked, result)."""
    result, _, what = line.partition(" ")
    return what, result


def ancestor(entry: dict[str, Any]) -> tuple[object, ...]:
    """Return one row of a lineage."""
    snapshot = entry.get("snapshot", {})
    return (
        entry["version"],
        entry["kind"],
        entry["parent"] or "-",
        entry.get("round", "-"),
        entry.get("reward_model", {}).get("id", "-"),
        snapshot.get("id", "-"),
        snapshot.get("labels", "-"),
        snapshot.get("demonstrations", "-"),
    )
