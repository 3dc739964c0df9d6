"""``whetstone up``: starts everything on one machine and stays until Ctrl-C."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from deploy.base import prepare_base
from deploy.stack import Stack, StackSettings
from deploy.supervisor import Supervisor, require_free
from feedback import access


def run(
    *, directory: Path = Path("var/up"), port: int = 8000, model: Path | None = None, console: Console | None = None
) -> int:
    """Start everything, print the pages' addresses and fresh keys, and stay; what was learned before is kept.

    Args:
        directory: holds the ledger, weights and logs; a second start goes on from what is there.
        port: TCP port of the API and pages.
        model: policy directory to begin with, any causal language model with a chat template; the sandbox's by default.
        console: where lines go.

    Raises:
        WhetstoneError: a part could not start or ended by itself; says which and why.
    """
    out = console or Console(highlight=False)
    require_free(port, "--port")
    base = prepare_base(directory / "text")
    extra = base.environment if model is None else {}
    settings = StackSettings.local(directory, port, extra)
    try:
        with Supervisor(directory / "logs") as supervisor:
            stack = Stack(settings, supervisor)
            ledger = stack.start_ledger()
            live = stack.register_base(model or base.model)
            out.print(
                f"{live} is live; starting the API, the workers and the trainer (about a minute)",
                markup=False,
                soft_wrap=True,
            )
            keys = {
                "client": access.create(ledger, "client", "you")[0],
                "labeler": access.create(ledger, "labeler", "you", group="training")[0],
                "operator": access.create(ledger, "operator", "you")[0],
            }
            stack.start_processes()
            out.print(welcome(settings, keys), markup=False, soft_wrap=True)
            while True:
                supervisor.check()
                time.sleep(1)
    except KeyboardInterrupt:
        out.print("stopped; `make up` goes on from here")
        return 0


def welcome(settings: StackSettings, keys: dict[str, str]) -> str:
    """Return what a person needs to know to begin."""
    url, ledger_url = settings.url, settings.environment["WHETSTONE_LEDGER_URL"]
    return "\n".join(
        [
            f"Playground   {url}/playground    key {keys['client']}",
            f"Labeling     {url}/labeling      key {keys['labeler']}",
            f"Operations   {url}/operations    key {keys['operator']}",
            f"API          {url}/v1            any OpenAI client, with the first key",
            f"Metrics      {url}/metrics",
            f"Command line export WHETSTONE_LEDGER_URL={ledger_url}; whetstone status",
            "Ctrl-C stops everything.",
        ]
    )
