"""Metrics: names and units of the field, labels from bounded sets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from archon.proxy.metrics import Metrics

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def used() -> Metrics:
    metrics = Metrics(lambda: ("archon/best", "gpt"))
    metrics.request("/v1/chat/completions", "archon/best", 200, 0.2)
    metrics.request("/v1/chat/completions", "made up", 404, 0.001)
    metrics.request("/v1/models", "", 200, 0.001)
    metrics.first_token("archon/best", 0.1)
    metrics.overhead("gpt", 0.0004)
    metrics.node("archon/best", "fuser", 0.3)
    metrics.tokens("gpt", 10, 5)
    metrics.spend("gpt", 1_500_000)
    metrics.calls("gpt", "ok", 7)
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[(name, frozenset(labels.items()))]


def test_what_happened_is_counted() -> None:
    found = used()
    assert value(found, "archon_requests_total", route="/v1/chat/completions", model="archon/best", status="200") == 1
    assert value(found, "archon_tokens_total", model="gpt", type="input") == 10
    assert value(found, "archon_tokens_total", model="gpt", type="output") == 5
    assert value(found, "archon_spend_usd_total", model="gpt") == 1.5
    assert value(found, "archon_upstream_calls_total", model="gpt", outcome="ok") == 7
    assert value(found, "archon_node_duration_seconds_sum", architecture="archon/best", layer="fuser") == 0.3


def test_calls_passed_through_are_counted_with_the_others() -> None:
    found = used()
    for overhead in (0.0004, 0.002):
        found.passed("gpt", 100, 20, 250_000, overhead)
    found.passed("made up", 1, 1, 1, 0.0)
    # On top of what `used` counted: 10 and 5 tokens, 1.5 dollars, 7 calls, one overhead of 0.4 ms.
    assert value(found, "archon_tokens_total", model="gpt", type="input") == 210
    assert value(found, "archon_tokens_total", model="gpt", type="output") == 45
    assert value(found, "archon_spend_usd_total", model="gpt") == 2.0
    assert value(found, "archon_upstream_calls_total", model="gpt", outcome="ok") == 9
    assert value(found, "archon_overhead_seconds_count", model="gpt") == 3
    assert value(found, "archon_overhead_seconds_sum", model="gpt") == pytest.approx(0.0028)
    assert value(found, "archon_upstream_calls_total", model="other", outcome="ok") == 1


def test_models_that_are_not_served_are_one_label() -> None:
    metrics = used()
    for number in range(100):
        metrics.request("/v1/chat/completions", f"made up {number}", 404, 0.1)
        metrics.tokens(f"made up {number}", 1, 1)
    models = {dict(labels).get("model") for _, labels in samples(metrics)}
    assert models - {None} == {"archon/best", "gpt", "other"}


def test_names_follow_the_conventions_and_no_label_could_name_a_person() -> None:
    families = list(text_string_to_metric_families(used().render().decode()))
    for family in families:
        assert re.fullmatch(r"archon_[a-z0-9_]+", family.name)
        assert family.documentation
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels <= {"route", "model", "status", "architecture", "layer", "type", "outcome", "le"}


def test_two_apps_do_not_share_a_registry() -> None:
    first, second = used(), Metrics()
    assert b'model="gpt"' in first.render()
    assert b'model="gpt"' not in second.render()


def test_the_documentation_lists_every_metric_with_its_labels() -> None:
    documented = dict(re.findall(r"^\| `(archon_\w+)` \| *([\w, ]*?) *\|", OPERATIONS.read_text(), re.MULTILINE))
    metrics, told = Metrics(), {}
    for collector in metrics.registry._collector_to_names:
        suffix = "_total" if collector._type == "counter" else ""  # type: ignore[attr-defined]
        told[collector._name + suffix] = ", ".join(collector._labelnames)  # type: ignore[attr-defined]
    assert {name: labels.strip() for name, labels in documented.items()} == told
