"""A real Chromium, and the real serving application without an engine behind a real uvicorn."""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

from feedback import access, comparisons, demonstrations, prompts
from feedback.client import Ledger
from feedback.ids import new_id
from feedback.records import Comparison, Completion, Message, Prompt, utc_now
from serve.app import make_app
from serve.recording.spool import Spool
from serve.settings import ServeSettings
from serve.swapping.traffic import Traffic
from tests.conftest import free_port
from tests.serve.pages.upstream import OTHER, VERSION


class Site:
    """One running application and what a test puts into its ledger."""

    def __init__(self, ledger: Ledger, app: FastAPI) -> None:
        self.ledger = ledger
        self.app = app
        self.port = free_port()
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "uvicorn did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)

    def key(self, role: str, owner: str, consent: bool = True) -> str:
        group = "training" if role == "labeler" else ""
        return access.create(self.ledger, role, owner, group=group, consent=consent)[0]

    def prompt(self, text: str = "Where does Bob live?") -> Prompt:
        prompt = Prompt(
            id=new_id("pmt"),
            created_at=utc_now(),
            customer="acme",
            messages=[Message(role="user", content=text)],
            split="train",
        )
        prompts.keep(self.ledger, prompt, uuid.uuid4().hex, 10_000)
        return prompt

    def comparison(self, texts: list[str], prompt: str = "Where does Bob live?", overlap: int = 1) -> Comparison:
        planned = comparisons.plan(self.ledger, self.prompt(prompt), len(texts), overlap=overlap)
        made = [
            Completion(text=text, policy_version="policy-0007", seed=i, temperature=1.0, finished=True)
            for i, text in enumerate(texts)
        ]
        comparisons.complete(self.ledger, planned, made)
        return comparisons.get(self.ledger, planned.id)

    def demonstration_request(self, prompt: str = "Where does Bob live?") -> Prompt:
        wanted = self.prompt(prompt)
        demonstrations.request(self.ledger, wanted)
        return wanted


class Loaded(NamedTuple):
    """A slot, as far as pages look at it."""

    version: str


@pytest.fixture
def two_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic that holds a live policy and a candidate; ask for it before `site`."""
    aliases = {"live": VERSION, "candidate": OTHER}
    monkeypatch.setattr(Traffic, "names", lambda self: iter([*aliases, *aliases.values()]))
    monkeypatch.setattr(Traffic, "choose", lambda self, name: Loaded(aliases.get(name, name)))


@pytest.fixture
def site(ledger: Ledger, tmp_path: Path) -> Iterator[Site]:
    settings = ServeSettings.load(
        ledger_url=ledger.url, engine="none", artifact_root=tmp_path, spool_root=tmp_path / "spool", replica="pages"
    )
    spool = Spool(settings.spool_root / settings.replica, settings.spool_max_bytes, settings.spool_segment_bytes)
    found = Site(ledger, make_app(settings, ledger, spool))
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium; at home its absence is a skip, in CI a failure.

    Gone after each module: while it runs, Playwright's event loop counts as running in this thread, and a test
    elsewhere that calls `asyncio.run` would fail.
    """
    path = os.environ.get("WHETSTONE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Serving(Protocol):
    """Whatever answers under an address."""

    @property
    def url(self) -> str: ...


class Watched:
    """A page, and everything that it should never do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda message: self._console(message))
        page.on("dialog", lambda dialog: self._dialog(dialog))
        page.set_default_timeout(15_000)

    def _console(self, message: Any) -> None:
        # a refused request is the API's answer, not a fault of the page
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(f"console: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, site: Serving, path: str, secret: str) -> Page:
        """Open a page and hand over the key, by keyboard."""
        self.page.goto(site.url + path)
        self.page.wait_for_selector("#key:focus")
        self.page.keyboard.type(secret)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#app:not([hidden])")
        return self.page


@pytest.fixture
def watched(chromium: Browser) -> Iterator[Watched]:
    """A fresh browser profile's page; any script error, policy violation or dialog fails the test."""
    context = chromium.new_context()
    found = Watched(context.new_page())
    yield found
    context.close()
    assert found.faults == []


@pytest.fixture
def inspected(chromium: Browser) -> Iterator[Watched]:
    """As `watched`, but the page's policy is lifted for axe, which puts styles into a page to measure it."""
    context = chromium.new_context(bypass_csp=True)
    found = Watched(context.new_page())
    yield found
    context.close()
    assert found.faults == []
