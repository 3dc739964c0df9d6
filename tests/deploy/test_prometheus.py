"""A real Prometheus scrapes our metrics, loads our rules and answers the dashboard's queries."""

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import start_http_server

from feedback import metrics
from tests.conftest import free_port

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
JOBS = ("serve", "worker", "trainer")


def ask(url: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
        return json.load(answer)["data"]


def within(seconds: float, url: str, **query: str) -> Any:
    """Return the answer as soon as there is one."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask(url, **query)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with our configuration, all three jobs pointed at this process's registry."""
    program = shutil.which("prometheus")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("prometheus is not installed (Debian package prometheus)")
        pytest.skip("prometheus is not installed")
    directory = tmp_path_factory.mktemp("prometheus")
    exporter, thread = start_http_server(0, addr="127.0.0.1", registry=metrics.REGISTRY)
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}
    config["rule_files"] = [str(DEPLOY / "prometheus/alerts.yaml")]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{exporter.server_port}"]}]
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    yield f"http://127.0.0.1:{port}/api/v1"
    process.terminate()
    process.wait()
    exporter.shutdown()
    exporter.server_close()
    thread.join()


def test_all_jobs_are_scraped(prometheus: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        targets = within(20, f"{prometheus}/targets")["activeTargets"]
        if {target["labels"]["job"] for target in targets if target["health"] == "up"} == set(JOBS):
            return
        time.sleep(0.2)
    pytest.fail(f"not all targets are up: {targets}")


def test_every_rule_is_evaluated_without_an_error(prometheus: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        rules = [rule for group in within(20, f"{prometheus}/rules")["groups"] for rule in group["rules"]]
        if rules and all(rule["health"] != "unknown" for rule in rules):
            break
        time.sleep(0.2)
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_every_query_of_the_dashboard_is_answered(prometheus: str) -> None:
    metrics.ledger_up.set(1)
    dashboard = json.loads((DEPLOY / "grafana/loop.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    for query in queries:
        assert "result" in within(20, f"{prometheus}/query", query=query.replace("$__rate_interval", "1m")), query
