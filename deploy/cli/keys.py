"""``whetstone keys``: create, list, revoke."""

from datetime import timedelta
from typing import Annotated

import msgspec
import typer

from deploy.cli import output
from deploy.cli.session import Json, ledger
from feedback import access
from feedback.errors import ConfigError
from feedback.records import ApiKey, utc_now

app = typer.Typer(help="API keys of customers, labelers, operators and metrics readers.", no_args_is_help=True)


@app.command()
def create(
    role: Annotated[str, typer.Argument(help="client, labeler, operator or metrics.")],
    owner: Annotated[str, typer.Argument(help="Customer, labeler or operator that the key stands for.")],
    group: Annotated[str, typer.Option(help="Labeler group: training or held-out.")] = "",
    consent: Annotated[
        bool, typer.Option("--consent/--no-consent", help="May this customer's prompts be used for training?")
    ] = True,
    expires_days: Annotated[int, typer.Option(min=0, help="Days until the key expires; 0 for never.")] = 0,
    as_json: Json = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    if group and role != "labeler":
        raise ConfigError(f"--group is for labelers, not for role {role!r}")
    expires_at = utc_now() + timedelta(days=expires_days) if expires_days else None
    secret, key = access.create(ledger(), role, owner, group=group, consent=consent, expires_at=expires_at)
    if as_json:
        output.show_json({"key": secret, **public(key)})
    else:
        print(secret)
        typer.echo(f"id {key.id}; keep the key, it cannot be shown again", err=True)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List all keys; the secrets are stored nowhere."""
    found = access.list_keys(ledger())
    if as_json:
        output.show_json([public(key) for key in found])
        return
    output.show_table(
        ["ID", "ROLE", "OWNER", "GROUP", "CONSENT", "CREATED", "STATE"],
        [
            (key.id, key.role, key.owner, key.group or "-", _consent(key), output.moment(key.created_at), state(key))
            for key in found
        ],
    )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `whetstone keys list` shows it.")],
    as_json: Json = False,
) -> None:
    """Revoke a key; serving processes stop taking it within seconds."""
    key = access.revoke(ledger(), key_id)
    if as_json:
        output.show_json(public(key))
    else:
        output.say(f"{key.id} of {key.owner} is revoked")


def public(key: ApiKey) -> dict[str, object]:
    """Return a key without the hash of its secret."""
    fields: dict[str, object] = msgspec.to_builtins(key)
    fields.pop("secret_sha256")
    return fields


def state(key: ApiKey) -> str:
    """Return whether a key works."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= utc_now() else "valid"


def _consent(key: ApiKey) -> str:
    return ("yes" if key.consent else "no") if key.role == "client" else "-"
