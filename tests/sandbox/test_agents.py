"""Agents act over HTTP alone: labelers lease, judge and submit against a real front without an engine."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from feedback import access, demonstrations, labels, prompts
from feedback.client import Ledger
from feedback.curation import text_of
from sandbox.agents import Question, Tally, ask_all, work
from sandbox.customers import make_customers
from sandbox.labelers import Labeler, make_labelers
from tests.builders import make_completion, make_messages, make_prompt, open_comparison
from tests.conftest import ROOT, RedisServer, free_port

PROMPT = "Mia lives in Rome. Where does Mia live?"
ANSWERS = ["Mia lives in Rome.", "In Oslo, you fool.", "Mia", "Mia lives in Oslo."]


def start(url: str, port: int, directory: Path) -> subprocess.Popen[bytes]:
    """Start a serving process that has the ledger's routes and no engine."""
    settings = {
        "WHETSTONE_LEDGER_URL": url,
        "WHETSTONE_PORT": str(port),
        "WHETSTONE_ENGINE": "none",
        "WHETSTONE_SPOOL_ROOT": str(directory / "spool"),
        "WHETSTONE_ARTIFACT_ROOT": str(directory / "artifacts"),
    }
    return subprocess.Popen([sys.executable, "-m", "serve"], env={**os.environ, **settings}, cwd=ROOT)


@pytest.fixture(scope="module")
def front(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running front."""
    port = free_port()
    process = start(redis_server.url, port, tmp_path_factory.mktemp("front"))
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/livez", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, "the front ended by itself"
                time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def labeler_of(group: str) -> Labeler:
    return next(each for each in make_labelers(0) if each.group == group)


def fill(ledger: Ledger, count: int) -> None:
    """Open comparisons and one request for a demonstration."""
    for _ in range(count):
        open_comparison(ledger, messages=make_messages(PROMPT), completions=[make_completion(text) for text in ANSWERS])
    prompt = make_prompt(PROMPT)
    prompts.keep(ledger, prompt, text_of(prompt.messages), 200)
    demonstrations.request(ledger, prompt)


def run_until(url: str, ledger: Ledger, labelers: list[tuple[Labeler, str]], wanted: int) -> Tally:
    """Let labelers work until this many answers are in the ledger, a minute at most."""
    tally = Tally()
    deadline_s = time.monotonic() + 60

    def enough() -> bool:
        given = labels.count(ledger) + demonstrations.count(ledger)
        return given >= wanted or time.monotonic() > deadline_s

    async def everybody() -> None:
        await asyncio.gather(
            *(
                work(url, each, secret, ("demonstration", "training"), tally, random.Random(place), enough)
                for place, (each, secret) in enumerate(labelers)
            )
        )

    asyncio.run(everybody())
    return tally


def test_labelers_answer_everything_and_count_what_the_ledger_has(front: str, ledger: Ledger) -> None:
    fill(ledger, count=10)
    people = make_labelers(0)[:3]
    secrets = [access.create(ledger, "labeler", each.name, group=each.group)[0] for each in people]
    tally = run_until(front, ledger, list(zip(people, secrets, strict=True)), wanted=11)
    assert (tally.labels, tally.demonstrations) == (labels.count(ledger), demonstrations.count(ledger)) == (10, 1)
    assert tally.lost_leases == 0
    for _, label in labels.read(ledger):
        assert label.labeler in {each.name for each in people}
        assert label.labeler_group == "training"
        assert len(label.quality) == len(ANSWERS)


def test_labelers_prefer_what_is_true_and_civil(front: str, ledger: Ledger) -> None:
    fill(ledger, count=12)
    labeler = labeler_of("training")
    secret, _ = access.create(ledger, "labeler", labeler.name, group=labeler.group)
    run_until(front, ledger, [(labeler, secret)], wanted=13)
    best = [label.ranking[0] for _, label in labels.read(ledger)]
    assert sum(0 in group for group in best) >= 9


def test_a_customer_without_a_valid_key_is_refused_for_good(front: str, ledger: Ledger) -> None:
    question = Question(customer=make_customers(1, 0)[0], secret="ws-client-wrong", text=PROMPT)
    tally = Tally()
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        asyncio.run(ask_all(front, [question], tally))
    assert tally.served == 0
