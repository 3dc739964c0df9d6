"""All that a customer can leave behind in the ledger and the archive, and how to look for it."""

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

from feedback import (
    archives,
    comparisons,
    demonstrations,
    interactions,
    labels,
    leases,
    prompts,
    shares,
    votes,
)
from feedback.client import Ledger
from feedback.curation import text_of
from feedback.records import Battle, Label
from tests.builders import (
    lease_next,
    make_completion,
    make_demonstration,
    make_interaction,
    make_label,
    make_prompt,
    make_rating,
)


class Life:
    """All that one customer can leave behind; every text of theirs holds the customer's name in capitals."""

    def __init__(self, ledger: Ledger, root: Path, customer: str, made: datetime) -> None:
        self.ledger, self.root, self.customer = ledger, root, customer
        said = f"{customer.upper()} asks for a fruit"
        self.interaction = make_interaction(
            said, customer=customer, created_at=made, completion=f"{customer.upper()} gets a pear"
        )
        interactions.append(ledger, self.interaction)
        rating = make_rating(
            customer=customer, created_at=made, comment=f"{customer.upper()} likes it", interaction_id="x"
        )
        interactions.rate(ledger, rating)
        shares.create(ledger, self.interaction, 3)
        votes.open_battle(ledger, Battle(id=f"b-{customer}", created_at=made, customer=customer, versions=["a", "b"]))
        self.prompts = [self.keep(f"{said} {number}", made) for number in range(4)]
        self.planned = self.plan(self.prompts[0])
        self.open = self.plan(self.prompts[1], complete=True)
        self.labelled = self.plan(self.prompts[2], complete=True)
        demonstrations.request(ledger, self.prompts[3])
        self.label = self.rank(f"lee-{customer}", self.labelled.id)
        demonstration = make_demonstration(
            self.prompts[3], created_at=made, labeler=f"lee-{customer}", response=f"{customer.upper()} wants a plum"
        )
        token = lease_next(ledger, f"lee-{customer}", demonstrations.QUEUE).token
        demonstrations.submit(ledger, demonstration, token)
        for name, read in (
            ("interactions", interactions.read),
            ("demonstrations", demonstrations.read),
            ("labels", labels.read),
        ):
            directory = root / "archive" / name
            directory.mkdir(parents=True, exist_ok=True)
            archives.append(directory, read(ledger, archives.cursor(directory)), lambda record: True)

    def keep(self, text: str, made: datetime) -> Any:
        prompt = make_prompt(text, customer=self.customer, created_at=made)
        assert prompts.keep(self.ledger, prompt, text_of(prompt.messages), 100) == "kept"
        return prompt

    def plan(self, prompt: Any, complete: bool = False) -> Any:
        planned = comparisons.plan(self.ledger, prompt, 4)
        if complete:
            comparisons.complete(
                self.ledger, planned, [make_completion(f"{self.customer.upper()}'s {n}") for n in range(4)]
            )
        return comparisons.get(self.ledger, planned.id)

    def rank(self, labeler: str, wanted: str) -> Label:
        """Rank one comparison, with a note that quotes the customer."""
        while (lease := lease_next(self.ledger, labeler)).item_id != wanted:
            leases.release(self.ledger, lease.item_id, labeler, lease.token)
        comparison = comparisons.get(self.ledger, wanted)
        label = make_label(comparison, labeler=labeler, note=f"{self.customer.upper()} is odd")
        labels.submit(self.ledger, label, comparison, lease.token)
        return label


def dump(ledger: Ledger) -> str:
    """Return everything that the ledger holds."""
    found = []
    client = ledger.redis
    for key in client.scan_iter():
        kind = client.type(key)
        content = {
            "string": lambda key=key: client.get(key),
            "hash": lambda key=key: client.hgetall(key),
            "set": lambda key=key: client.smembers(key),
            "list": lambda key=key: client.lrange(key, 0, -1),
            "zset": lambda key=key: client.zrange(key, 0, -1),
            "stream": lambda key=key: client.xrange(key),
        }[kind]()
        found.append(f"{key} {content}")
    return "\n".join(found)


def archive_text(root: Path) -> str:
    return "".join(gzip.open(path, "rt").read() for path in (root / "archive").rglob("*.gz"))
