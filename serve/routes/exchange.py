"""``/v1/operations/export`` and ``/snapshots``: labels out in others' formats, and what went into training.

Parses and streams; the formats are in `feedback.exchange`. Importing is done from the command line: a set can be of any
size, and whoever may read it is at the machine that it lies on.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse

from feedback import exchange, promotion, snapshots
from feedback.records import ApiKey, Snapshot
from serve.dependencies import Dependencies
from serve.door.auth import require

PIECE_BYTES = 64 * 1024
"""What is sent at a time."""
FormatName = Literal["whetstone", "rankings", "scores", "trl", "trl-conversational", "argilla", "label-studio"]
WantedPurpose = Literal["training", "agreement", "evaluation"]
Limit = Annotated[int, Query(ge=1, le=1000)]


def make_router(deps: Dependencies) -> APIRouter:
    """Return the operators' routes of data."""
    router = APIRouter(prefix="/v1/operations", tags=["operations"])
    operator = Depends(require(deps.keys, "operator"))

    @router.get("/export", response_class=StreamingResponse)
    def export(
        key: Annotated[ApiKey, operator], format: FormatName = "whetstone", purpose: WantedPurpose = "training"
    ) -> StreamingResponse:
        """Stream all labels of a purpose in a format: JSON lines, or one JSON array; the audit keeps who asked."""
        pieces = joined(exchange.export(deps.ledger, format, (purpose,)))
        first = next(pieces, b"")  # while the ledger's absence can still be said with a status
        promotion.note(deps.ledger, key.owner, "export", format, purpose)
        array = exchange.FORMATS[format].array
        name = f"whetstone-{purpose}.{format}.{'json' if array else 'jsonl'}"
        return StreamingResponse(
            chain([first], pieces),
            media_type="application/json" if array else "application/jsonl",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @router.get("/snapshots", dependencies=[operator])
    def list_snapshots(limit: Limit = 100) -> list[dict[str, Any]]:
        """Return the latest snapshots, newest first: what is inside, what is not and why, and how it was capped."""
        return [shown(each) for each in reversed(snapshots.list_snapshots(deps.ledger)[-limit:])]

    return router


def joined(rows: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at least `PIECE_BYTES`; the last one may be shorter."""
    held: list[bytes] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row)
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def shown(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot with counts instead of the ids of its labels."""
    fields: dict[str, Any] = msgspec.to_builtins(snapshot)
    return fields | {name: len(fields[name]) for name in ("labels", "left_out", "adjudications")}
