"""``/v1/battles``: begin a blind battle, vote once, learn who was who.

The two answers are asked for as any completion, under the names that a battle gives its sides.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from feedback import keys, metrics, votes
from feedback.curation import prompt_id, rules_of, split_of
from feedback.errors import Conflict, Forbidden, NotFound
from feedback.records import ApiKey, Battle, Comparison
from serve.answering import answers
from serve.answering.battles import over, sides
from serve.asking.schemas import BattleId, BattleIn, VoteIn, body, described
from serve.dependencies import Dependencies
from serve.door.auth import require
from serve.errors import InvalidRequest


def make_router(deps: Dependencies) -> APIRouter:
    """Return the routes of battles."""
    router = APIRouter(prefix="/v1/battles", tags=["battles"])
    customer = Depends(require(deps.keys, "client", "operator"))

    @router.post("", openapi_extra=described(BattleIn, required=False))
    def begin(
        key: Annotated[ApiKey, customer], given: Annotated[BattleIn, Depends(body(BattleIn, optional=True))]
    ) -> dict[str, Any]:
        """Begin a battle: two loaded versions in an order that only the server knows, as two model names to ask."""
        _check_consent(key)
        battle, left_today = deps.battles.begin(key.owner)
        return {"id": battle.id, "sides": sides(battle), "left_today": left_today}

    @router.post("/{id}/vote", openapi_extra=described(VoteIn))
    def vote(
        id: BattleId, key: Annotated[ApiKey, customer], given: Annotated[VoteIn, Depends(body(VoteIn))]
    ) -> dict[str, Any]:
        """Say which side answered better and learn the versions; the first vote holds, another one is refused.

        A retry with the same `id` gets the same answer. A battle can be voted on for a day.
        """
        _check_consent(key)
        battle = _own(deps, id, key)
        comparison = _comparison(deps, battle, key, given)
        label_id = answers.own_id("vot", key.owner, given.id)
        label = votes.to_label(label_id, comparison, given.verdict, blind=True)
        taken = votes.take(deps.ledger, comparison, label, keys.battle_vote(battle.id))
        if taken:
            metrics.labels_total.labels("vote").inc()
        return {"taken": taken, "versions": dict(zip("ab", battle.versions, strict=True))}

    return router


def _check_consent(key: ApiKey) -> None:
    if not key.consent:
        raise Forbidden("battles feed training, and this key is not to be trained on; its votes would not be stored")


def _own(deps: Dependencies, id: str, key: ApiKey) -> Battle:
    if over(id):
        raise InvalidRequest("this battle is over; it could be voted on for a day", None, "expired", 410)
    battle = votes.find_battle(deps.ledger, id)
    if battle is None or battle.customer != key.owner:
        raise NotFound("no such battle of yours")
    return battle


def _comparison(deps: Dependencies, battle: Battle, key: ApiKey, given: VoteIn) -> Comparison:
    """Return the battle's comparison, from the two answers that the voter names.

    Raises:
        NotFound: an answer is not the caller's, or was not logged, as those without consent are.
        Conflict: an answer is not of its side, or not complete.
    """
    said = [answers.own(deps, id, key) for id in (given.a, given.b)]
    for side, answer, version in zip("ab", said, battle.versions, strict=True):
        if answer.policy_version != version or answer.created_at < battle.created_at:
            # refusing alone would tell which version the side is
            votes.void_battle(deps.ledger, battle)
            raise Conflict(f"answer {answer.id} is not one of side {side}, so this battle is void; begin another one")
    split = split_of(key.owner, rules_of(deps.settings))
    return votes.to_comparison(f"cmp_{battle.id}", prompt_id(said[0].id), split, said[0], said[1])
