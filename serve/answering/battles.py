"""Blind battles: two loaded policies, shuffled by the server, answer under names that tell nothing of them.

Knows which side is which version; the vote and its comparison are `feedback.votes`, the answering itself is that of any
completion. Only who began a battle can ask its sides.
"""

import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from feedback import ids, tallies, votes
from feedback.client import Ledger
from feedback.errors import Conflict, LedgerUnavailable, RateLimited
from feedback.records import Battle, utc_now

NAME = re.compile(r"battle-([0-9a-f]{32})-([ab])")
REMEMBERED = 10_000
"""Battles whose sides are kept at hand; older ones are read from the ledger again."""
DOWN_S = 2.0
"""After the ledger failed to answer, battles of other replicas are unknown for this long before it is asked again."""


class Battles:
    """Begins battles and tells which version stands behind a side."""

    def __init__(
        self, ledger: Ledger, loaded: Callable[[], Iterable[str]], per_day: int, chance: random.Random | None = None
    ) -> None:
        """Keep what is needed; touches nothing.

        Args:
            ledger: where battles are stored, so that every replica knows them.
            loaded: returns the names that answer now; those that are no exact version are passed over.
            per_day: battles that one customer may begin a day.
            chance: source of the draw and the shuffle.
        """
        self._ledger = ledger
        self._loaded = loaded
        self._per_day = per_day
        self._chance = chance or random.SystemRandom()
        self._known: OrderedDict[str, Battle] = OrderedDict()
        self._down_until_s = 0.0

    def begin(self, customer: str) -> tuple[Battle, int]:
        """Begin a battle; return it, and how many more the customer may begin today (blocking).

        Raises:
            Conflict: fewer than two versions are loaded.
            RateLimited: the customer began as many today as are allowed.
        """
        versions = sorted({name for name in self._loaded() if ids.is_policy_version(name)})
        if len(versions) < 2:
            raise Conflict("a battle needs two loaded policies, and there is only one now; try again after a promotion")
        count, left_s = tallies.add(self._ledger, "battle", customer, tallies.DAY_S)
        if count > self._per_day:
            raise RateLimited(
                f"a customer may begin {self._per_day} battles a day; the next day begins 0:00 UTC", left_s
            )
        battle = Battle(
            id=ids.new_id("btl").removeprefix("btl_"),
            created_at=utc_now(),
            customer=customer,
            versions=self._chance.sample(versions, 2),
        )
        votes.open_battle(self._ledger, battle)
        self._remember(battle)
        return battle, self._per_day - count

    def side(self, name: str, owner: str) -> str | None:
        """Return the version behind ``battle-<id>-a|b``, or None if ``owner`` has no such side.

        Asks the ledger, blocking for a moment, only for a battle that began on another replica.
        """
        found = NAME.fullmatch(name)
        if found is None:
            return None
        battle = self._known.get(found[1]) or self._ask(found[1])
        if battle is None or battle.customer != owner or over(battle.id):
            return None
        version = battle.versions["ab".index(found[2])]
        # an error that names what is not loaded any more would name the version
        return version if version in set(self._loaded()) else None

    def _ask(self, id: str) -> Battle | None:
        if over(id) or time.monotonic() < self._down_until_s:
            return None
        try:
            battle = votes.find_battle(self._ledger, id)
        except LedgerUnavailable:
            self._down_until_s = time.monotonic() + DOWN_S
            return None
        if battle is not None:
            self._remember(battle)
        return battle

    def _remember(self, battle: Battle) -> None:
        self._known[battle.id] = battle
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def sides(battle: Battle) -> list[str]:
    """Return the model names of a battle's two sides."""
    return [f"battle-{battle.id}-{side}" for side in "ab"]


def over(id: str) -> bool:
    """Tell whether a battle with this id is over, whoever began it and whether or not there was one."""
    made_s = ids.made_at_s(id)
    return made_s is not None and time.time() - made_s > votes.BATTLE_S
