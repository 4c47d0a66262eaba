"""What examples/operating/ and docs/operating.md say is what the code reports, calls and costs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import shardpack as sp
from shardpack.consumer.metrics import INSTRUMENTS
from shardpack.producer import METRIC_NAMES
from shardpack.producer.shells.otel import _INSTRUMENTS, instruments

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "operating"
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
POLICIES = sorted((FOLDER / "policies").glob("*.json"))
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NAMES = {name.lower() for name in (*METRIC_NAMES, *INSTRUMENTS)}
TABLES = {**_INSTRUMENTS, **INSTRUMENTS}
# Of the language of Prometheus, and the labels.
WORDS = {"sum", "by", "rate", "increase", "histogram_quantile", "le", "streamname", "errorcode"}


def exported() -> set[str]:
    """The names by which Prometheus gets everything that shardpack reports."""
    pytest.importorskip("opentelemetry.exporter.prometheus")
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    reader = PrometheusMetricReader(prefix="")
    registry.register(reader._collector)
    report = instruments("clicks", sp.ProducerConfig(), MeterProvider([reader]), TABLES)
    assert report is not None
    for name, (_, kind, _, _) in TABLES.items():
        if kind == "histogram":
            report.record(name, 1.0, "shardId-000000000000")
        else:
            report.add(name, 1, "shardId-000000000000", "Throttled")
    text = generate_latest(registry).decode()
    assert 'streamname="clicks"' in text.lower()
    return set(re.findall(r"^(\w+)(?:\{| )", text, re.MULTILINE))


def expressions() -> list[str]:
    dashboard = json.loads((FOLDER / "grafana.json").read_text("utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def metrics_of(expression: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", expression)
    return {word for word in re.findall(r"[a-z_]+", bare) if word not in WORDS}


def test_the_dashboard_shows_what_prometheus_gets() -> None:
    names = exported()
    used = {name for expression in expressions() for name in metrics_of(expression)}
    assert len(used) > 15
    assert used - names == set()


def test_a_name_that_nobody_reports_would_be_found() -> None:
    assert metrics_of('sum by (le) (rate(no_such_total{streamname=~"$stream"}[5m]))') == {"no_such_total"}


def test_the_collector_selects_what_is_reported() -> None:
    config = yaml.safe_load((FOLDER / "collector.yaml").read_text("utf-8"))
    for declaration in config["exporters"]["awsemf"]["metric_declarations"]:
        for selector in declaration["metric_name_selectors"]:
            assert any(re.search(selector, name) for name in NAMES), selector
    used = {name for pipeline in config["service"]["pipelines"].values() for name in pipeline["exporters"]}
    assert used == set(config["exporters"])


def alarms() -> dict[str, Any]:
    """CloudFormation's own tags aside."""
    text = re.sub(r"!Ref (\w+)", r"{Ref: \1}", (FOLDER / "alarms.yaml").read_text("utf-8"))
    return {name: one["Properties"] for name, one in yaml.safe_load(text)["Resources"].items()}


def test_each_alarm_is_on_a_metric_that_arrives_and_is_told_on_the_page() -> None:
    config = yaml.safe_load((FOLDER / "collector.yaml").read_text("utf-8"))
    selectors = [
        selector
        for declaration in config["exporters"]["awsemf"]["metric_declarations"]
        if declaration["dimensions"] == [["StreamName"]]
        for selector in declaration["metric_name_selectors"]
    ]
    for name, alarm in alarms().items():
        if alarm["Namespace"] == "shardpack":
            assert alarm["MetricName"] in NAMES, name
            assert any(re.search(selector, alarm["MetricName"]) for selector in selectors), name
        assert f"| `{name}` |" in PAGE


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_policy_is_one(path: Path) -> None:
    check(path.read_text("utf-8"))
    assert f"policies/{path.name}" in PAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_policies_of_a_page_are(page: Path) -> None:
    for block in re.findall(r"^```json\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        if '"Statement"' in block:
            check(block)


def check(policy: str) -> None:
    """As `parliament` does, and no action or resource by a star alone."""
    parliament = pytest.importorskip("parliament")
    findings = parliament.analyze_policy_string(policy).findings
    assert [str(one) for one in findings] == []
    for statement in json.loads(policy)["Statement"]:
        assert not [one for one in [*statement["Action"]] if one.endswith("*")]
        assert statement["Resource"] != "*"


def test_a_wrong_policy_would_be_found() -> None:
    policy = (FOLDER / "policies" / "producer.json").read_text("utf-8")
    with pytest.raises(AssertionError):
        check(policy.replace("kinesis:PutRecords", "kinesis:PutRecordz"))
