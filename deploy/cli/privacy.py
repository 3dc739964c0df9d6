"""``whetstone erase`` and ``whetstone erasures``: take a customer's words out of the system, and see the receipts."""

from typing import Annotated

import typer

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import erasure, keys
from feedback.records import Erasure
from feedback.settings import Settings


def erase(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Customer, as its API keys name it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether this is meant.")] = False,
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Erase all that a customer sent until now, here and in the archive, and list the policies trained on it.

    The first pass is made at once. The workers make another when everything that was under way has ended, and the
    receipt is done when that finds nothing.
    """
    if not yes:
        typer.confirm(f"Erase everything that {customer!r} sent? This cannot be undone", abort=True, err=True)
    receipt = erasure.erase(ledger(), Settings.load().artifact_root, customer, actor)
    if as_json:
        output.show_json(receipt)
    else:
        output.show_pairs(described(receipt))


def erasures(as_json: Json = False) -> None:
    """List the receipts of erasures."""
    found = ledger().hall(keys.ERASURES, Erasure)
    if as_json:
        output.show_json(found)
        return
    output.show_table(
        ["ID", "CUSTOMER", "ACTOR", "ASKED", "STATE", "REMOVED", "POLICIES TRAINED ON IT"],
        [
            (
                each.id,
                each.customer,
                each.actor,
                output.moment(each.created_at),
                each.state,
                sum(each.counts.values()),
                len(each.policies),
            )
            for each in found
        ],
    )


def described(receipt: Erasure) -> list[tuple[str, object]]:
    """Return a receipt as names and values."""
    return [
        ("receipt", receipt.id),
        ("customer", receipt.customer),
        ("state", receipt.state),
        *((f"removed, {kind.replace('_', ' ')}", count) for kind, count in sorted(receipt.counts.items())),
        ("snapshots that hold its rows", ", ".join(receipt.snapshots) or "none"),
        ("policies trained on them", ", ".join(receipt.policies) or "none"),
    ]
