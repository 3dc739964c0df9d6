"""What every benchmark shares: a real server to measure, percentiles, and the report.

Knows how to start, kill and restart ``python -m serve`` with its Redis; does not know what is measured.
"""

from __future__ import annotations

import json
import math
import operator
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from deploy.base import SHIPPED, SMALL
from deploy.stack import ENGINE_ENVIRONMENT, redis_service
from deploy.supervisor import ProcessFailed, Supervisor, free_port
from feedback import access, promotion
from feedback.client import Ledger

ROOT = Path(__file__).parent.parent
READY_S = 300.0
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Bar:
    """One promise: a measured value, how it must compare, and with what."""

    name: str
    value: float
    op: str
    target: float

    @property
    def passed(self) -> bool:
        """Tell whether the value keeps the promise; a NaN never does."""
        return OPERATORS[self.op](self.value, self.target)

    def row(self) -> dict[str, Any]:
        """Return the bar as the report holds it."""
        return {**asdict(self), "pass": self.passed}


def report(bench: str, figures: Mapping[str, Any], bars: Sequence[Bar]) -> None:
    """Write ``var/bench/<bench>.json`` and print the same object as one last line."""
    found = {"bench": bench, "commit": commit(), "figures": dict(figures), "bars": [bar.row() for bar in bars]}
    target = ROOT / "var" / "bench" / f"{bench}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found), flush=True)


def commit() -> str:
    """Return the commit that is measured, with ``+`` if files were changed since; empty outside a checkout."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def percentile(values: Sequence[float], q: float) -> float:
    """Return the ``q``-th percentile (0 to 100) by linear interpolation; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = (len(ordered) - 1) * q / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def log(message: str) -> None:
    """Say on standard error what is going on."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


@dataclass
class Server:
    """``python -m serve`` with its own Redis and the sandbox's base model live; a context manager.

    Attributes:
        directory: emptied first; holds Redis, spool, artifacts and logs.
        policies: how many policies to register; the first is live, the others differ from it by small noise.
        model: policy directory that they are copied from.
        extra: further settings, ``WHETSTONE_...``.
        versions: of the registered policies.
        paths: model directory of each version, for other servers to be measured with the same weights.
        keys: secrets by name: ``client`` (consent), ``private`` (a client without), ``operator``, ``labeler``.
    """

    directory: Path
    policies: int = 1
    model: Path = SHIPPED
    extra: Mapping[str, str] = field(default_factory=dict)
    versions: list[str] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory = self.directory.resolve()
        self.port, self.redis_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._supervisor = Supervisor(self.directory / "logs")

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the serving process."""
        return {
            **os.environ,
            **ENGINE_ENVIRONMENT,
            **SMALL,
            "WHETSTONE_LEDGER_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "WHETSTONE_PORT": str(self.port),
            "WHETSTONE_REPLICA": "bench",
            "WHETSTONE_SPOOL_ROOT": str(self.directory / "spool"),
            "WHETSTONE_ARTIFACT_ROOT": str(self.directory / "artifacts"),
            **self.extra,
        }

    def __enter__(self) -> Server:
        """Start Redis, register the policies, make the first live, make keys, start serving and wait for readiness."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self._supervisor.__enter__()
        try:
            self.start_redis()
            self.ledger = Ledger(self.environment["WHETSTONE_LEDGER_URL"])
            for number in range(self.policies):
                version = self._register(_noisy(self.model, self.directory / f"model-{number}", number))
                self.versions.append(version)
            promotion.promote(self.ledger, self.versions[0], "bench")
            self.keys["client"], _ = access.create(self.ledger, "client", "alice")
            self.keys["private"], _ = access.create(self.ledger, "client", "bob", consent=False)
            self.keys["operator"], _ = access.create(self.ledger, "operator", "olga")
            self.keys["labeler"], _ = access.create(self.ledger, "labeler", "lena", group="training")
            self.start()
            self.wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the serving process and Redis."""
        self.stop()
        self._supervisor.__exit__(kind, error, trace)

    def start_redis(self) -> None:
        """Start the ledger's Redis, with what it held before, and wait until it answers."""
        service = redis_service("ledger", self.redis_port, self.directory / "redis")
        self._supervisor.start(service)
        self._supervisor.wait(service)

    @property
    def redis_pid(self) -> int:
        """Process id of the ledger's Redis."""
        return self._supervisor.pid("redis-ledger")

    def kill_redis(self) -> None:
        """End the ledger's Redis with SIGKILL."""
        os.kill(self.redis_pid, signal.SIGKILL)
        self._supervisor.end("redis-ledger")

    def start(self) -> None:
        """Start the serving process without waiting for it."""
        with (self.directory / "logs" / "serve.log").open("ab") as log_file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serve"], cwd=ROOT, env=self.environment, stdout=log_file, stderr=log_file
            )

    def kill(self) -> None:
        """End the serving process alone with SIGKILL; its engines find out by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self) -> float:
        """Start the serving process anew and wait until it is ready; return how many seconds that took."""
        began = time.monotonic()
        self.stop()
        self.start()
        self.wait_ready()
        return time.monotonic() - began

    def stop(self, deadline_s: float = 60.0) -> None:
        """End the serving process with SIGTERM, and with SIGKILL if it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def ready(self) -> bool:
        """Tell whether the live slot answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, slots: int = 1, deadline_s: float = READY_S) -> None:
        """Wait until the live slot answers and as many slots are warm.

        Raises:
            ProcessFailed: the process ended, or was not ready in time.
        """
        until = time.monotonic() + deadline_s
        while not (self.ready() and (slots == 1 or self.warm_slots() >= slots)):
            if self.process is None or self.process.poll() is not None or time.monotonic() > until:
                tail = (self.directory / "logs" / "serve.log").read_text(errors="replace")[-2000:]
                raise ProcessFailed(f"serve did not become ready:\n{tail}")
            time.sleep(0.1)

    def warm_slots(self) -> int:
        """Return how many slots the replica's heartbeat shows as ready."""
        text = redis.Redis(port=self.redis_port, decode_responses=True).get("ws:replica:bench")
        return sum(slot["state"] == "ready" for slot in json.loads(str(text))["slots"]) if text else 0

    def _register(self, model: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "trainer", "register", "--policy", str(model)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ProcessFailed(f"the policy was not registered: {done.stderr[-1000:]}")
        version = str(json.loads(done.stdout.strip().splitlines()[-1])["version"])
        self.paths[version] = model
        return version


def _noisy(source: Path, target: Path, seed: int) -> Path:
    """Copy a policy directory; with a seed other than 0, add noise of 2 % to its weights, so that answers differ."""
    shutil.copytree(source, target)
    if seed:
        import numpy as np
        from safetensors.numpy import load_file, save_file

        random = np.random.default_rng(seed)
        path = target / "model.safetensors"
        weights = {
            name: (each * (1 + 0.02 * random.standard_normal(each.shape))).astype(each.dtype)
            for name, each in load_file(path).items()
        }
        save_file(weights, path, metadata={"format": "pt"})
    return target
