"""The processes of Whetstone on one machine: their commands, their settings, when they are ready.

Knows names of settings and of commands, and imports none of the processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import redis

from deploy.supervisor import ProcessFailed, Service, Supervisor, free_port
from feedback import access, policies, promotion
from feedback.client import Ledger
from feedback.settings import Settings

ROOT = Path(__file__).parent.parent
ENGINE_READY_S = 300.0

ENGINE_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """Where one machine's Whetstone lives.

    Attributes:
        directory: holds everything that it writes.
        host: address of the API.
        port: port of the API and pages.
        ledger_port: port of the ledger's Redis.
        broker_port: port of the broker's Redis.
        metrics_ports: ports of the workers' and the trainer's metrics.
        extra: further settings for all processes, ``WHETSTONE_...``.
    """

    directory: Path
    host: str
    port: int
    ledger_port: int
    broker_port: int
    metrics_ports: tuple[int, int]
    extra: Mapping[str, str]

    @classmethod
    def local(cls, directory: Path, port: int, extra: Mapping[str, str]) -> StackSettings:
        """Return settings with private ports for all but the API."""
        return cls(
            directory=directory.resolve(),
            host="127.0.0.1",
            port=port,
            ledger_port=free_port(),
            broker_port=free_port(),
            metrics_ports=(free_port(), free_port()),
            extra=extra,
        )

    @property
    def url(self) -> str:
        """Address of the API and the pages."""
        return f"http://{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Settings of all processes."""
        return {
            **ENGINE_ENVIRONMENT,
            "WHETSTONE_LEDGER_URL": f"redis://127.0.0.1:{self.ledger_port}/0",
            "WHETSTONE_BROKER_URL": f"redis://127.0.0.1:{self.broker_port}/0",
            "WHETSTONE_ARTIFACT_ROOT": str(self.directory / "artifacts"),
            "WHETSTONE_HOST": self.host,
            "WHETSTONE_PORT": str(self.port),
            "WHETSTONE_SERVE_URL": self.url,
            "WHETSTONE_SPOOL_ROOT": str(self.directory / "spool"),
            "WHETSTONE_WORK_ROOT": str(self.directory / "training"),
            "WHETSTONE_WORKERS_METRICS_PORT": str(self.metrics_ports[0]),
            "WHETSTONE_TRAINER_METRICS_PORT": str(self.metrics_ports[1]),
            **self.extra,
        }


class Stack:
    """A running Whetstone on this machine."""

    def __init__(self, settings: StackSettings, supervisor: Supervisor) -> None:
        """Bind the settings to the supervisor that will run the processes."""
        self.settings = settings
        self.supervisor = supervisor
        self.environment = settings.environment
        self.ledger: Ledger

    def start_ledger(self) -> Ledger:
        """Start both Redis servers and return the ledger."""
        ports = {"ledger": self.settings.ledger_port, "broker": self.settings.broker_port}
        services = [redis_service(name, port, self.settings.directory / "redis") for name, port in ports.items()]
        for service in services:
            self.supervisor.start(service)
        for service in services:
            self.supervisor.wait(service)
        self.ledger = Ledger.connect(Settings(ledger_url=self.environment["WHETSTONE_LEDGER_URL"]))
        return self.ledger

    def register_base(self, model: Path) -> str:
        """Register a pretrained model and make it live; return its version, or live's if there is one already."""
        live = policies.aliases(self.ledger).get("live")
        if live:
            return live
        version = str(self.run_trainer("register", "--policy", str(model))["version"])
        return promotion.promote(self.ledger, version, "set-up", "the base model, from which everything starts")

    def run_trainer(self, *arguments: str) -> dict[str, object]:
        """Run one trainer command to its end and return the JSON object on its last line.

        Raises:
            ProcessFailed: it ended with an error; the message is its last line.
        """
        done = subprocess.run(
            [sys.executable, "-m", "trainer", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            raise ProcessFailed(f"trainer {arguments[0]} ended with exit code {done.returncode}: {last}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return dict(found)

    def start_processes(self) -> None:
        """Start serve, the workers, beat and the trainer service; return when the API is ready."""
        sampler_key, _ = access.create(self.ledger, "client", "sampler", consent=False)
        services = self.services(sampler_key)
        for service in services:
            self.supervisor.start(service)
        for service in services:
            self.supervisor.wait(service)

    def _serves(self) -> bool:
        """Tell whether the API can answer.

        Raises:
            ProcessFailed: the engines did not take the live policy.
        """
        failed = [event for event in promotion.swaps(self.ledger) if event.state == "failed"]
        if failed:
            raise ProcessFailed(f"serve could not load {failed[-1].version}: {failed[-1].error[:300]}")
        return answers(f"{self.settings.url}/readyz")

    def services(self, sampler_key: str) -> list[Service]:
        """Return the processes beside Redis, in the order of starting."""
        url = self.settings.url

        def service(
            name: str, *command: str, ready_url: str = "", environment: Mapping[str, str] | None = None
        ) -> Service:
            return Service(
                name=name,
                command=[sys.executable, "-m", *command],
                environment={**self.environment, **(environment or {})},
                ready=(lambda: answers(ready_url)) if ready_url else (lambda: True),
                ready_s=ENGINE_READY_S,
            )

        return [
            service("serve", "serve", ready_url=f"{url}/readyz"),
            service("worker", "workers", "worker", environment={"WHETSTONE_SAMPLER_KEY": sampler_key}),
            service("beat", "workers", "beat"),
            service("trainer", "trainer", "serve"),
        ]


def redis_service(name: str, port: int, directory: Path) -> Service:
    """Return a Redis with our configuration for ``name`` (``ledger`` or ``broker``)."""
    (directory / name).mkdir(parents=True, exist_ok=True)
    config = ROOT / "deploy" / "redis" / f"{name}.conf"

    def ready() -> bool:
        try:
            return bool(redis.Redis(port=port, socket_timeout=1).ping())
        except redis.RedisError:
            return False

    return Service(
        name=f"redis-{name}",
        command=["redis-server", str(config), "--port", str(port), "--dir", str(directory / name)],
        ready=ready,
        ready_s=30.0,
    )


def answers(url: str) -> bool:
    """Tell whether a GET of ``url`` succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
