"""``POST /v1/queue``: an operator puts the prompt of an answer at the head of the labelers' queue.

Plans a real comparison, by the same rules as curation; the workers sample it, labelers rank it.
"""

from typing import Annotated

from fastapi import APIRouter, Depends

from feedback import collection, comparisons, promotion, prompts, queues
from feedback.curation import refusal, rules_of, text_of, to_prompt
from feedback.errors import Conflict, NotFound
from feedback.records import ApiKey, Purpose
from serve.answering import answers
from serve.asking.schemas import QueueIn, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require


def make_router(deps: Dependencies) -> APIRouter:
    """Return the operators' way into the labelers' queue."""
    router = APIRouter(tags=["operations"])
    operator = Depends(require(deps.keys, "operator"))

    @router.post("/v1/queue", openapi_extra=described(QueueIn))
    def put(key: Annotated[ApiKey, operator], given: Annotated[QueueIn, Depends(body(QueueIn))]) -> dict[str, str]:
        """Plan a comparison of K fresh answers to this prompt, served to labelers before all others.

        Any customer's prompt, if the customer consented and is not held out for tests.
        """
        answer = answers.answered(deps, given.interaction_id)
        if answer is None:
            raise NotFound(f"no interaction {given.interaction_id!r}; it was not logged, or is past its retention")
        rules = rules_of(deps.settings)
        if (reason := refusal(answer, rules)) is not None:
            raise Conflict(f"this prompt cannot be labelled: {reason}")
        prompt = to_prompt(answer, rules)
        if prompt.split == "test":
            raise Conflict(f"customer {prompt.customer} is held out for tests; such prompts are never labelled")
        prompts.keep(deps.ledger, prompt, text_of(prompt.messages), rules.most_per_customer)
        id = f"cmp_{prompt.id.removeprefix('pro_')}"
        if comparisons.get_many(deps.ledger, [id])[0] is not None:
            raise Conflict("this prompt is in the queue, or was labelled, already")
        purpose: Purpose = "agreement" if prompt.split == "valid" else "training"
        config = queues.route(prompt, purpose, queues.configs(deps.ledger))
        comparison = comparisons.plan(
            deps.ledger,
            prompt,
            given.k,
            purpose=purpose,
            overlap=queues.overlap(config, id),
            models=config.models,
            id=id,
            priority=True,
            queue=config.name,
        )
        collection.considered(deps.ledger, "comparison", [prompt.id])
        promotion.note(deps.ledger, key.owner, "queue prompt", comparison.id)
        return {"comparison_id": comparison.id, "prompt_id": prompt.id, "split": prompt.split}

    return router
