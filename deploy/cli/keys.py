"""``whetstone keys``: create, list, change, revoke; each change is in the audit."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import access, promotion
from feedback.errors import ConfigError
from feedback.records import ApiKey, utc_now

KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `whetstone keys list` shows it.")]
PER_MINUTE = typer.Option(min=0, help="Most requests in a minute; 0 for the server's default.")
PER_DAY = typer.Option(min=0, help="Most tokens in a UTC day; 0 for the server's default.")
SKILL = typer.Option(help="What a labeler may be given beyond the ordinary, such as lang:de; repeat it for more.")
app = typer.Typer(help="API keys of customers, labelers, operators and metrics readers.", no_args_is_help=True)


@app.command()
def create(
    role: Annotated[str, typer.Argument(help="client, labeler, operator or metrics.")],
    owner: Annotated[str, typer.Argument(help="Customer, labeler or operator that the key stands for.")],
    group: Annotated[str, typer.Option(help="Labeler group: training or held-out.")] = "",
    skill: Annotated[list[str] | None, SKILL] = None,
    consent: Annotated[
        bool, typer.Option("--consent/--no-consent", help="May this customer's prompts be used for training?")
    ] = True,
    expires_days: Annotated[
        int, typer.Option(min=0, help="Days until the key expires, from when it begins; 0 for never.")
    ] = 0,
    starts_days: Annotated[int, typer.Option(min=0, help="Days until the key begins to work; 0 for at once.")] = 0,
    requests_per_minute: Annotated[int, PER_MINUTE] = 0,
    tokens_per_day: Annotated[int, PER_DAY] = 0,
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    if (group or skill) and role != "labeler":
        raise ConfigError(f"{'--group' if group else '--skill'} is for labelers, not for role {role!r}")
    at, start = ledger(), utc_now() + timedelta(days=starts_days)
    secret, key = access.create(
        at,
        role,
        owner,
        group=group,
        skills=skill or [],
        consent=consent,
        not_before=start if starts_days else None,
        expires_at=start + timedelta(days=expires_days) if expires_days else None,
        requests_per_minute=requests_per_minute,
        tokens_per_day=tokens_per_day,
    )
    promotion.note(at, actor, "make key", key.id, f"{key.role} {key.owner}")
    if as_json:
        output.show_json({"key": secret, **public(key)})
    else:
        print(secret)
        typer.echo(f"id {key.id}; keep the key, it cannot be shown again", err=True)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List all keys; the secrets are stored nowhere."""
    at = ledger()
    found, used = access.list_keys(at), access.last_used(at)
    if as_json:
        output.show_json([public(key) | {"last_used_at": _moment(used.get(key.id))} for key in found])
        return
    heads = ["ID", "ROLE", "OWNER", "GROUP", "CONSENT", "LIMITS", "CREATED", "LAST USED", "STATE"]
    output.show_table(heads, [_row(key, _moment(used.get(key.id))) for key in found])


@app.command()
def change(
    key_id: KeyId,
    consent: Annotated[
        bool | None, typer.Option("--consent/--no-consent", help="May this customer's prompts be used for training?")
    ] = None,
    skill: Annotated[list[str] | None, SKILL] = None,
    requests_per_minute: Annotated[int | None, PER_MINUTE] = None,
    tokens_per_day: Annotated[int | None, PER_DAY] = None,
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Change a key's consent, skills (all of them anew) or quotas; serving processes follow within seconds."""
    given = {"consent": consent, "requests_per_minute": requests_per_minute, "tokens_per_day": tokens_per_day}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if skill:
        changes["skills"] = skill
    if not changes:
        raise ConfigError("nothing to change; give --consent, --no-consent, a skill or a quota")
    at = ledger()
    key = access.adjust(at, key_id, **changes)
    said = ", ".join(f"{name}={value}" for name, value in changes.items())
    promotion.note(at, actor, "change key", key.id, said)
    if as_json:
        output.show_json(public(key))
    else:
        output.say(f"{key.id} of {key.owner}: {said}")


@app.command()
def revoke(key_id: KeyId, actor: Actor = "", as_json: Json = False) -> None:
    """Revoke a key; serving processes stop taking it within seconds. The last usable operator key stays."""
    at = ledger()
    key = access.revoke(at, key_id)
    promotion.note(at, actor, "revoke key", key.id)
    if as_json:
        output.show_json(public(key))
    else:
        output.say(f"{key.id} of {key.owner} is revoked")


def public(key: ApiKey) -> dict[str, object]:
    """Return a key without the hash of its secret."""
    fields: dict[str, object] = msgspec.to_builtins(key)
    fields.pop("secret_sha256")
    return fields | {"state": access.state(key, utc_now())}


def _row(key: ApiKey, used: datetime | None) -> tuple[str, ...]:
    consent = ("yes" if key.consent else "no") if key.role == "client" else "-"
    limits = f"{key.requests_per_minute or '-'}/min {key.tokens_per_day or '-'}/day"
    moments = output.moment(key.created_at), output.moment(used) if used is not None else "never"
    return (key.id, key.role, key.owner, key.group or "-", consent, limits, *moments, access.state(key, utc_now()))


def _moment(unix_s: int | None) -> datetime | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC)
