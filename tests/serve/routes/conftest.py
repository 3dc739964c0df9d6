"""An app of the ledger's routes over a real Redis, and records to work on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from feedback import access, comparisons, demonstrations, prompts
from feedback.client import Ledger
from feedback.errors import EngineError
from feedback.ids import new_id
from feedback.records import Comparison, Completion, Interaction, Message, Prompt, utc_now
from serve import errors
from serve.answering.battles import Battles
from serve.asking.trials import Trials
from serve.dependencies import Dependencies
from serve.door.admission import Admission
from serve.door.idempotency import Answers
from serve.door.keycache import KeyCache
from serve.door.quotas import Quotas
from serve.recording.durable import Durable
from serve.routes import (
    account,
    answers,
    battles,
    canary,
    contests,
    exchange,
    feedback,
    guidelines,
    health,
    keys,
    labeling,
    operations,
    own_answers,
    practice,
    privacy,
    quality,
    queue,
    queues,
    reviews,
    sessions,
    shares,
    writing,
)
from serve.settings import ServeSettings
from serve.swapping.watchdog import Watchdog
from tests.serve.routes.door import Door


@dataclass
class SlotState:
    slot: str
    version: str
    state: str
    in_flight: int


@dataclass
class QuietTraffic:
    """Says what its slots hold; its probe fails on demand. No engine is needed to test what routes make of it."""

    slots: list[SlotState] = field(default_factory=lambda: [SlotState("a", "policy-0001", "live", 3)])
    dead: bool = False
    answering: bool = True
    probes: int = 0

    def names(self) -> list[str]:
        return ["live", *(slot.version for slot in self.slots)]

    async def probe(self) -> None:
        self.probes += 1
        if self.dead:
            raise EngineError("slot a generated nothing within 5 s")


@dataclass
class HeldInteractions:
    """What is answered and not yet in the ledger."""

    held: dict[str, Interaction] = field(default_factory=dict)

    def pending(self, interaction_id: str) -> Interaction | None:
        return self.held.get(interaction_id)


class World:
    """One app, its ledger, and keys for every role."""

    def __init__(self, ledger: Ledger, root: Path, **changes: Any) -> None:
        self.ledger = ledger
        self.traffic = QuietTraffic()
        self.watchdog = Watchdog([], stall_s=30.0)
        self.recorder = HeldInteractions()
        self.keys = KeyCache(ledger, ttl_s=0)
        fixed: dict[str, Any] = {"artifact_root": root, "spool_root": root / "spool", "engine": "vllm"}
        settings = ServeSettings.load(**{**fixed, "ready_cache_s": 0, "most_leases": 20, **changes})
        (settings.spool_root / settings.replica).mkdir(parents=True)
        self.deps = Dependencies(
            settings=settings,
            ledger=ledger,
            traffic=self.traffic,  # type: ignore[arg-type]
            watchdog=self.watchdog,
            recorder=self.recorder,  # type: ignore[arg-type]
            keys=self.keys,
            battles=Battles(ledger, self.traffic.names, settings.battles_per_day),
            admission=Admission(64, 64, 1 << 20),
            quotas=Quotas(ledger, 0, 0),
            trials=Trials(1.0),
            answers=Answers(),
            durability=Durable(ledger, "refuse"),
        )
        self.app = FastAPI()
        errors.install(self.app)
        labelers = (queue, queues, guidelines, practice, writing, reviews, labeling, answers, own_answers)
        operators = (operations, canary, contests, exchange, quality)
        for module in (account, keys, sessions, feedback, battles, shares, *labelers, *operators, health):
            self.app.include_router(module.make_router(self.deps))
        self.app.include_router(privacy.make_router(self.deps))
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.secrets: dict[tuple[str, str], str] = {}

    def secret(self, role: str, owner: str = "ada", group: str = "") -> str:
        if (role, owner) not in self.secrets:
            self.secrets[role, owner], _ = access.create(self.ledger, role, owner, group=group)
        return self.secrets[role, owner]

    def call(self, method: str, path: str, body: Any = None, *, role: str, owner: str = "ada") -> Any:
        headers = {"Authorization": f"Bearer {self.secret(role, owner)}"}
        return self.client.request(method, path, json=body, headers=headers)

    def prompt(self, text: str = "Why is the sky blue?") -> Prompt:
        prompt = Prompt(
            id=new_id("pmt"),
            created_at=utc_now(),
            customer="acme",
            messages=[Message(role="user", content=text)],
            split="train",
        )
        assert prompts.keep(self.ledger, prompt, prompt.id, 1000) == "kept"
        return prompt

    def comparison(self, k: int = 4, texts: list[str] | None = None, overlap: int = 1) -> Comparison:
        planned = comparisons.plan(self.ledger, self.prompt(), k, overlap=overlap)
        comparisons.complete(self.ledger, planned, completions(texts or [f"answer {i}" for i in range(k)]))
        return comparisons.get(self.ledger, planned.id)

    def demonstration_request(self) -> Prompt:
        prompt = self.prompt()
        demonstrations.request(self.ledger, prompt)
        return prompt


def completions(texts: list[str]) -> list[Completion]:
    """One completion per text, by a policy whose name must never reach a labeler."""
    return [
        Completion(text=text, policy_version="policy-0666", seed=i, temperature=1.0, finished=True)
        for i, text in enumerate(texts)
    ]


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path)


@pytest.fixture
def door(ledger: Ledger, tmp_path: Path) -> Iterator[Door]:
    """The completions endpoint over one live slot."""
    found = Door(ledger, tmp_path)
    yield found
    found.recorder.close()
