"""The order of the demonstration: who does what when, and when to go on.

Customers and labelers act over HTTP (`sandbox.agents`); the operator asks for rounds and promotes over HTTP, too. What
is measured afterwards is in `deploy.demo.measure` and `deploy.demo.report`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from deploy.demo.narrator import Narrator
from deploy.demo.people import People
from deploy.demo.traffic import Answer, Traffic
from deploy.stack import Stack
from feedback import collection, comparisons, demonstrations, interactions, labels, leases, policies, promotion, rounds
from feedback.errors import StageFailed, SwapFailed
from feedback.records import Round, SwapEvent
from sandbox.agents import Tally, ask_all, session, work

ROUND_S = 420.0
"""Seconds after which a round that is not done counts as stuck."""
SWAP_S = 60.0
LABELERS_AT_ONCE = 6
QUEUES = ("training", "agreement", demonstrations.QUEUE)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is asked and judged.

    Attributes:
        demonstrations: prompts asked before the SFT round; train and valid ones get a demonstration each.
        prompts: prompts asked before each PPO round.
        rounds: PPO rounds.
        held_out: prompts of held-out customers on which policies are compared in the end.
    """

    demonstrations: int = 240
    prompts: int = 800
    rounds: int = 2
    held_out: int = 400


@dataclass(kw_only=True)
class Story:
    """What happened, for the report."""

    tally: Tally = field(default_factory=Tally)
    rounds: list[Round] = field(default_factory=list)
    swaps: list[tuple[SwapEvent, list[Answer]]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    loop_latency_s: float = 0.0
    refused: list[str] = field(default_factory=list)


class Director:
    """Turns the loop once per round of the plan."""

    def __init__(self, stack: Stack, people: People, plan: Plan, narrator: Narrator) -> None:
        """Bind the running stack, its people and the plan."""
        self.stack, self.people, self.plan, self.narrator = stack, people, plan, narrator
        self.ledger, self.url = stack.ledger, stack.settings.url
        self.story = Story()
        self._over = False

    async def run(self) -> Story:
        """Demonstrations and SFT first, then the rounds; labelers work all the while."""
        self._crew = crew = [asyncio.create_task(self._labeler(place)) for place in range(LABELERS_AT_ONCE)]
        try:
            await self._ask("demonstrations", self.plan.demonstrations)
            await self._until(self._idle, "labelers write demonstrations", self._counts)
            await self._round("sft", "the first policy: no reward model exists that could judge it")
            for number in range(self.plan.rounds):
                await self._ask("comparisons", self.plan.prompts)
                await self._until(self._idle, "labelers rank", self._counts)
                await self._round("ppo", f"round {number + 1} passed the gate")
        finally:
            self._over = True
            await asyncio.gather(*crew, return_exceptions=True)
        await self._until(self._relayed, "the log catches up", self._counts)
        return self.story

    async def _labeler(self, place: int) -> None:
        """Be one pair of hands: act for each labeler in turn, so that many people need few connections."""
        mine = [
            (*each, random.Random(f"work:{each[0].name}")) for each in self.people.labelers[place::LABELERS_AT_ONCE]
        ]
        while not self._over:
            for labeler, secret, queues, rng in mine:
                enough = self._for(1.0)
                await work(self.url, labeler, secret, queues, self.story.tally, rng, enough)

    def _for(self, seconds: float) -> Callable[[], bool]:
        """Return a function that tells when so many seconds are over, or everything is."""
        until_s = time.monotonic() + seconds
        return lambda: self._over or time.monotonic() > until_s

    async def _ask(self, collect: str, count: int) -> None:
        collection.collect(self.ledger, collect)
        self.narrator.say(f"customers ask {count} questions; collecting {collect}")
        await ask_all(self.url, self.people.questions(count), self.story.tally)

    async def _round(self, kind: str, reason: str) -> None:
        last_label_s = time.time()
        async with session(self.url) as client:
            response = await self._operate(client, "rounds", {"kind": kind})
            response.raise_for_status()
            known = {each.id for each in self.story.rounds}
            await self._until(lambda: self._ended(known), f"the trainer walks a round ({kind})", self._stage)
            record = next(each for each in rounds.list_rounds(self.ledger) if each.id not in known)
            self.story.rounds.append(record)
            if record.state != "done":
                raise StageFailed(f"round {record.id} {record.state} in stage {record.stage}: {record.error}")
            took = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in record.seconds.items())
            self.narrator.say(f"{record.version} is a candidate ({took})")
            await self._promote(client, record.version, kind == "sft", reason)
        self.story.loop_latency_s = round(time.time() - last_label_s, 1)

    async def _promote(self, client: httpx.AsyncClient, version: str, override: bool, reason: str) -> None:
        """Promote under load: streams begin before the word is given and end after the swap is live."""
        traffic = Traffic(self.url, self.people.traffic_secret, self.people.traffic_prompts)
        flowing = asyncio.create_task(traffic.run())
        await asyncio.sleep(1.5)
        body = {"version": version, "reason": reason, "override": override}
        response = await self._operate(client, "promote", body)
        try:
            if response.status_code == 409:
                self.story.refused.append(version)
                self.narrator.say(f"the gate refuses {version}: {response.text[:500]}")
                return
            response.raise_for_status()
            event = await self._swapped(version)
            await asyncio.sleep(1.5)
        finally:
            traffic.stop()
            await flowing
            self.story.answers += traffic.answers
        self.story.swaps.append((event, traffic.answers))
        self.narrator.say(
            f"{version} is live after {event.load_s:.2f} s of loading; {len(traffic.answers)} streams flowed"
        )

    async def _swapped(self, version: str) -> SwapEvent:
        seen = len(self.story.swaps)
        deadline_s = time.monotonic() + SWAP_S
        while time.monotonic() < deadline_s:
            for event in promotion.swaps(self.ledger):
                if event.version == version and event.state == "live":
                    return event
                if event.version == version and event.state == "failed":
                    raise SwapFailed(f"{version} was not put into service: {event.error}")
            self.stack.supervisor.check()
            await asyncio.sleep(0.2)
        raise SwapFailed(f"{version} was not live after {SWAP_S:.0f} s (swap {seen + 1})")

    async def _operate(self, client: httpx.AsyncClient, what: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.people.operator_secret}"}
        return await client.post(f"/v1/operations/{what}", json=body, headers=headers)

    async def _until(self, done: Callable[[], bool], what: str, detail: Callable[[], str]) -> None:
        """Wait until ``done``, saying how it goes; a process that died ends the wait."""
        deadline_s = time.monotonic() + ROUND_S
        while not await asyncio.to_thread(done):
            self.stack.supervisor.check()
            for hands in self._crew:
                if hands.done() and not self._over:
                    hands.result()
            if time.monotonic() > deadline_s:
                raise StageFailed(f"{what}: not done after {ROUND_S:.0f} s ({detail()})")
            self.narrator.progress(what, detail())
            await asyncio.sleep(0.5)

    def _idle(self) -> bool:
        """Tell whether everything asked was logged, curated, sampled and judged."""
        wanted = collection.collected(self.ledger).removesuffix("s")
        return (
            self._relayed()
            and interactions.uncurated(self.ledger) == 0
            and collection.backlog(self.ledger, "comparison" if wanted == "comparison" else "demonstration") == 0
            and comparisons.being_sampled(self.ledger) == 0
            and not any(leases.waiting(self.ledger, queue) for queue in QUEUES)
            and leases.live(self.ledger) == 0
        )

    def _relayed(self) -> bool:
        return interactions.count(self.ledger) >= self.story.tally.served_with_consent

    def _ended(self, known: set[str]) -> bool:
        return any(each.id not in known and each.state != "running" for each in rounds.list_rounds(self.ledger))

    def _counts(self) -> str:
        return (
            f"logged {interactions.count(self.ledger)}, being sampled {comparisons.being_sampled(self.ledger)}, "
            f"waiting {sum(leases.waiting(self.ledger, queue) for queue in QUEUES)}, "
            f"demonstrations {demonstrations.count(self.ledger)}, labels {labels.count(self.ledger)}"
        )

    def _stage(self) -> str:
        running = [each for each in rounds.list_rounds(self.ledger) if each.state == "running"]
        if not running:
            return f"waiting for the trainer; {len(policies.list_policies(self.ledger))} policies"
        progress = running[0].progress
        if not progress.get("steps"):
            return running[0].stage
        eta = f", {progress['eta_s']:.0f} s left" if "eta_s" in progress else ""
        return f"{running[0].stage} {progress['step']:.0f}/{progress['steps']:.0f}{eta}"
