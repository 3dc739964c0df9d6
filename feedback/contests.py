"""Contests: two policies judged against each other by labelers who know neither, on held-out customers' prompts.

A contest says which prompts, which versions and how many labelers; its comparisons follow from that, so planning may be
repeated. Nothing that it collects trains: its comparisons are of purpose ``evaluation`` and of the test split.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Literal

import msgspec

from feedback import comparisons, keys, overview, policies, promotion, queues
from feedback import prompts as pool
from feedback.client import Ledger, encode
from feedback.errors import Conflict, NotFound
from feedback.ids import new_id
from feedback.records import Contest, Prompt, utc_now


def start(ledger: Ledger, a: str, b: str, *, prompts: int, overlap: int = 3, actor: str, reason: str = "") -> Contest:
    """Begin a contest between two policies; workers plan its comparisons, with priority.

    Args:
        ledger: where the registry and the prompts are.
        a: a version or alias.
        b: another.
        prompts: how many held-out prompts.
        overlap: how many labelers judge each.
        actor: who asks, for the audit.
        reason: why, for the audit.

    Raises:
        NotFound: no such policy.
        Conflict: both are the same policy, one of them answers nowhere now, or there are too few held-out prompts.
    """
    first, second = (policies.get(ledger, name).version for name in (a, b))
    if first == second:
        raise Conflict(f"{first} cannot be compared with itself")
    here = served(ledger)
    for version in (first, second):
        if version not in here:
            raise Conflict(
                f"no replica serves {version}; stage it with `whetstone policies canary {version} --share 0`"
            )
    id = new_id("cts")
    chosen = drawn(held_out(ledger), prompts, id)
    if len(chosen) < prompts:
        raise Conflict(f"{prompts} prompts asked for; the pool holds {len(chosen)} of held-out customers")
    contest = Contest(
        id=id, created_at=utc_now(), a=first, b=second, prompts=chosen, overlap=overlap, actor=actor, reason=reason
    )
    _store(ledger, contest)
    promotion.note(ledger, actor, "start contest", f"{first} against {second}", reason)
    return contest


def served(ledger: Ledger) -> set[str]:
    """Return the versions that some replica answers with now."""
    slots = [slot for replica in overview.replicas(ledger).values() for slot in replica.get("slots", [])]
    return {slot["version"] for slot in slots if slot["state"] == "ready"}


def held_out(ledger: Ledger) -> Iterator[Prompt]:
    """Yield the prompts of held-out customers, in no order."""
    for prompt in pool.each(ledger):
        if prompt.split == "test":
            yield prompt


def drawn(held: Iterable[Prompt], most: int, seed: str) -> list[str]:
    """Return the ids of up to ``most`` prompts: customers take turns, so that none of them decides a contest alone."""
    by_customer: dict[str, list[str]] = {}
    for prompt in held:
        by_customer.setdefault(prompt.customer, []).append(prompt.id)

    def place(name: str) -> bytes:
        return hashlib.sha256(f"{seed}:{name}".encode()).digest()

    turns = [sorted(by_customer[name], key=place) for name in sorted(by_customer, key=place)]
    return [id for turn in zip_longest(*turns) for id in turn if id is not None][:most]


def plan(ledger: Ledger) -> int:
    """Plan the comparisons of contests that were just begun; return how many. Safe to repeat, from any process."""
    planned = 0
    for contest in list_contests(ledger):
        if contest.state == "planned":
            configs = queues.configs(ledger)
            for prompt in pool.get_many(ledger, contest.prompts):
                if prompt is not None:
                    config = queues.route(prompt, "evaluation", configs)
                    _plan_one(ledger, contest, prompt, config.name)
                    planned += 1
            move(ledger, contest, "running")
    return planned


def move(ledger: Ledger, contest: Contest, state: Literal["running", "done"]) -> None:
    """Note that a contest is planned, or over."""
    _store(ledger, msgspec.structs.replace(contest, state=state))


def _plan_one(ledger: Ledger, contest: Contest, prompt: Prompt, queue: str) -> None:
    id = comparison_id(contest, prompt.id)
    sides = [contest.a, contest.b]
    if hashlib.sha256(id.encode()).digest()[0] % 2:
        sides.reverse()
    comparisons.plan(
        ledger,
        prompt,
        2,
        purpose="evaluation",
        overlap=contest.overlap,
        models=sides,
        id=id,
        priority=True,
        queue=queue,
    )


def comparison_id(contest: Contest, prompt_id: str) -> str:
    """Return the id of the one comparison of a prompt in a contest."""
    return f"cmp_{contest.id.removeprefix('cts_')}_{prompt_id.removeprefix('pro_')}"


def get(ledger: Ledger, id: str) -> Contest:
    """Return one contest.

    Raises:
        NotFound: no such contest.
    """
    found = ledger.hget(keys.CONTESTS, id, Contest)
    if found is None:
        raise NotFound(f"no contest {id!r}")
    return found


def list_contests(ledger: Ledger) -> list[Contest]:
    """Return all contests, oldest first."""
    return ledger.hall(keys.CONTESTS, Contest)


def _store(ledger: Ledger, contest: Contest) -> None:
    with ledger.reach() as client:
        client.hset(keys.CONTESTS, contest.id, encode(contest))
