"""Metrics: one registry, Prometheus' naming rules, nothing unbounded in a label."""

import re

from prometheus_client import Counter, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from feedback import metrics

DEFINED = {name: found for name, found in vars(metrics).items() if isinstance(found, MetricWrapperBase)}


def test_every_metric_is_in_the_registry_under_one_prefix_and_says_what_it_counts() -> None:
    assert len(DEFINED) > 10
    registered = {family.name for family in metrics.REGISTRY.collect()}
    for found in DEFINED.values():
        family = next(iter(found.describe()))
        assert family.name in registered
        assert re.fullmatch(r"whetstone_[a-z_]+", family.name)
        assert family.documentation.endswith(".")


def test_names_in_code_say_their_unit() -> None:
    for name, found in DEFINED.items():
        if isinstance(found, Counter):
            assert name.endswith("_total"), name
        if type(found).__name__ == "Histogram":
            assert name.endswith("_seconds"), name


def test_no_label_can_hold_what_a_user_wrote() -> None:
    allowed = {
        "alias", "fate", "group", "kind", "metric", "outcome", "reason", "route", "slot", "stage", "state", "status",
        "task", "version",
    }  # fmt: skip
    for found in DEFINED.values():
        assert set(found._labelnames) <= allowed, found


def test_the_registry_renders_as_prometheus_text() -> None:
    assert b"# TYPE whetstone_requests_total counter" in generate_latest(metrics.REGISTRY)
