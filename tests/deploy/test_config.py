"""Dashboard, rules, compose files and Dockerfile name only things that exist."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from feedback import metrics
from serve.settings import ServeSettings
from trainer.settings.service import TrainerSettings
from workers.settings import WorkerSettings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
GPU = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana/loop.json").read_text())
OURS = ("serve", "worker", "beat", "trainer", "operate")


def panel_expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])] + [
        annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]
    ]


def alerts() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def series_of(family: Metric) -> set[str]:
    """Return the names under which a metric's samples appear."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + ending for ending in endings.get(family.type, ("",))}


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:whetstone_|vllm:)[a-z_]+", expression))


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed (Debian package prometheus)")
        pytest.skip("promtool is not installed")
    return found


def check(promtool: str, *arguments: str | Path) -> None:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration_and_rules(promtool: str) -> None:
    check(promtool, "check", "config", DEPLOY / "prometheus/prometheus.yaml")


def test_alerts_fire_when_they_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    text = (Path(__file__).parent / "alerts_test.yaml").read_text()
    case = tmp_path / "alerts_test.yaml"
    case.write_text(text.replace("ALERTS", str(DEPLOY / "prometheus/alerts.yaml")))
    check(promtool, "test", "rules", case)


def test_every_query_of_the_dashboard_parses(promtool: str, tmp_path: Path) -> None:
    queries = [expression.replace("$__rate_interval", "5m") for expression in panel_expressions()]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    check(promtool, "check", "rules", path)


def test_every_metric_of_ours_in_dashboard_and_rules_exists() -> None:
    defined = {name for family in metrics.REGISTRY.collect() for name in series_of(family)}
    used = set().union(*(names_in(text) for text in [*panel_expressions(), *(rule["expr"] for rule in alerts())]))
    ours = {name for name in used if name.startswith("whetstone_")}
    assert ours - defined == set()
    assert len(ours) > 15


def test_every_metric_of_vllm_in_the_dashboard_exists() -> None:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        pytest.skip("vLLM is not installed")
    source = (Path(spec.origin).parent / "v1/metrics/loggers.py").read_text()
    defined = set(re.findall(r'"(vllm:[a-z_]+)"', source))
    used = {name for expression in panel_expressions() for name in names_in(expression) if name.startswith("vllm:")}
    assert used
    assert {name.removesuffix("_total") for name in used} <= defined


def test_every_metric_of_ours_is_watched() -> None:
    text = json.dumps(DASHBOARD) + json.dumps(RULES)
    assert [family.name for family in metrics.REGISTRY.collect() if family.name not in text] == []


def test_the_dashboards_rows_follow_the_loop_and_panels_do_not_overlap() -> None:
    rows = [panel["title"].split(":")[0] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["1 Ask", "2 Log", "3 Curate", "4 Sample", "5 Label", "6 Train", "7 Swap"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alert_says_what_happened_and_where_to_look() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "warn", "info"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "look"}, rule["alert"]


def test_grafana_finds_the_dashboard_and_its_data() -> None:
    provisioning = DEPLOY / "grafana/provisioning"
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((provisioning / "dashboards/whetstone.yaml").read_text())["providers"]
    uids = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if panel["type"] != "row"}
    assert uids == {source["uid"]}
    mounts = [volume.split(":") for volume in COMPOSE["services"]["grafana"]["volumes"]]
    [target] = [mount[1] for mount in mounts if mount[0] == "./grafana/loop.json"]
    assert str(Path(target).parent) == provider["options"]["path"]


def test_each_process_is_a_target_that_the_dockerfile_builds_for_an_ordinary_user() -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    stages = dict(zip(targets, re.split(r"^FROM .*$", DOCKERFILE, flags=re.MULTILINE)[1:], strict=True))
    for name in OURS:
        target = COMPOSE["services"][name]["build"]["target"]
        assert re.search(r"^USER whetstone$", stages[target], re.MULTILINE), target
        last = [line for line in stages[target].splitlines() if line.startswith(("USER", "RUN", "COPY"))][-1]
        assert last.startswith("USER")
    assert {"serve", "trainer", "worker"} <= set(targets)


def test_the_dockerfile_is_repeatable() -> None:
    assert "ARG PIP_INDEX_URL" in DOCKERFILE
    assert re.findall(r"^FROM \S+:latest", DOCKERFILE, re.MULTILINE) == []
    assert re.search(r"^ADD ", DOCKERFILE, re.MULTILINE) is None
    assert "sudo" not in DOCKERFILE
    for command in re.findall(r"apt-get install[^&]*", DOCKERFILE):
        assert "--no-install-recommends" in command
    for lock in set(re.findall(r"requirements/\S+\.txt", DOCKERFILE)):
        assert (ROOT / lock).is_file()
    assert "pip install --no-deps ${TORCH_INDEX:+--extra-index-url" in DOCKERFILE
    assert "https://" not in DOCKERFILE, "an index is a build argument"


def test_images_hold_what_the_processes_import_and_nothing_else() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"feedback", "serve", "trainer", "workers", "sandbox", "deploy", "requirements", "pyproject.toml"} <= kept
    assert kept.isdisjoint({"tests", "var", ".env", ".git"})


def test_every_setting_in_compose_is_a_setting_of_its_process() -> None:
    settings = {
        "serve": ServeSettings,
        "worker": WorkerSettings,
        "beat": WorkerSettings,
        "trainer": TrainerSettings,
        "operate": WorkerSettings,
    }
    for service, kind in settings.items():
        known = {f"WHETSTONE_{name.upper()}" for name in kind.model_fields} | {"WHETSTONE_SERVE_URL"}
        given = set(COMPOSE["services"][service]["environment"])
        given |= set(GPU["services"].get(service, {}).get("environment", {}))
        assert given - known == set(), service
    every = {f"WHETSTONE_{name.upper()}" for kind in settings.values() for name in kind.model_fields}
    assert set(re.findall(r"\b(WHETSTONE_[A-Z_]+)=", DOCKERFILE)) <= every


def test_prometheus_scrapes_the_ports_that_the_images_open() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())["scrape_configs"]
    targets = [target for job in scraped for static in job["static_configs"] for target in static["targets"]]
    for target in targets:
        service, port = target.split(":")
        assert service in COMPOSE["services"]
        assert f"EXPOSE {port}" in DOCKERFILE


def test_compose_runs_ours_without_privileges_and_publishes_to_this_machine_only() -> None:
    for name in OURS:
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["depends_on"]["ledger"] == {"condition": "service_healthy"}
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert ":latest" not in service.get("image", "")


def test_compose_mounts_files_and_volumes_that_exist() -> None:
    for name, service in COMPOSE["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            found = (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert found, (name, volume)


def test_the_gpu_file_changes_only_services_that_exist() -> None:
    assert set(GPU["services"]) <= set(COMPOSE["services"])
    for service in GPU["services"].values():
        assert service["build"]["args"]["DEVICE"] in ("cuda",)
        [device] = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


@pytest.mark.parametrize(("name", "fsync"), [("ledger", "always"), ("broker", "everysec")])
def test_both_redis_keep_what_they_were_given(name: str, fsync: str) -> None:
    text = (DEPLOY / f"redis/{name}.conf").read_text()
    options = dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    assert options["appendonly"] == "yes"
    assert options["appendfsync"] == fsync
    assert options["maxmemory-policy"] == "noeviction"
