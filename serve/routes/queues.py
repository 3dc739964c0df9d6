"""``/v1/operations/queues``: operators see the queues and change what is asked in each."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from feedback import leases, promotion, queues, workdays
from feedback.records import ApiKey, QueueConfig
from serve.asking.schemas import body, described
from serve.asking.schemas_labeling import QueueConfigIn, QueuePath
from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the operators' routes for queues."""
    router = APIRouter(prefix="/v1/operations/queues", tags=["operations"])
    operator = Depends(require(deps.keys, "operator"))

    def seen(config: QueueConfig) -> dict[str, Any]:
        return {**msgspec.structs.asdict(config), "waiting": leases.waiting(deps.ledger, config.name)}

    @router.get("")
    def show(key: Annotated[ApiKey, operator]) -> dict[str, Any]:
        """List all queues with their settings and what waits in them, and who skips much today."""
        found = [*queues.configs(deps.ledger).values(), queues.get(deps.ledger, queues.DEMONSTRATION)]
        flagged = {
            name: count for name, count in workdays.skipped(deps.ledger).items() if count >= deps.settings.skips_flagged
        }
        return {"queues": [seen(config) for config in found], "skipping": flagged}

    @router.put("/{name}", openapi_extra=described(QueueConfigIn))
    def change(
        name: QueuePath, key: Annotated[ApiKey, operator], given: Annotated[QueueConfigIn, Depends(body(QueueConfigIn))]
    ) -> dict[str, Any]:
        """Change a queue, or add one; what is absent stays as it is. Items that wait there keep their slots."""
        everything = msgspec.structs.asdict(given)
        settings = {field: value for field, value in everything.items() if value is not msgspec.UNSET}
        config = queues.put(deps.ledger, name, **settings)
        said = ", ".join(f"{field} {value}" for field, value in settings.items())
        promotion.note(deps.ledger, key.owner, "change queue", name, said)
        return seen(config)

    return router
