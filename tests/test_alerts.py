"""Alert rules and dashboard name only what `/metrics` shows; each alert has its runbook page."""

import json
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

import billing_app.api.app
import billing_app.payments.call_metrics
import billing_app.payments.rate_budget
from billing_app.jobs.operating_figures import FiguresCollector, OperatingFigures
from tests.test_docs import anchors

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/dashboard.json"
RUNBOOK = ROOT / "docs/runbook.md"
SUFFIXES = {Counter: ("_total",), Gauge: ("",), Histogram: ("_bucket", "_count", "_sum")}
# What Prometheus itself adds to each sample.
TARGET_LABELS = {"job", "instance"}
SELECTOR = re.compile(r"\b((?:billing|process|python)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"[^\"]*\"")
GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
SHOWN = re.compile(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}")
SERIES = re.compile(r"_(bucket|count|sum)$")
LINK = re.compile(r"docs/runbook\.md#(\w+)")


def shown() -> dict[str, set[str]]:
    """The labels of every sample that a server shows."""
    assert billing_app.api.app
    assert billing_app.payments.call_metrics
    assert billing_app.payments.rate_budget
    found: dict[str, set[str]] = {}
    collectors: list[Any] = list(REGISTRY._collector_to_names)
    for collector in collectors:
        for kind, suffixes in SUFFIXES.items():
            if isinstance(collector, kind):
                for suffix in suffixes:
                    le = {"le"} if suffix == "_bucket" else set[str]()
                    found[collector._name + suffix] = {*collector._labelnames, *le}
    everything = OperatingFigures(**{field.name: 1.0 for field in fields(OperatingFigures)})
    for family in [*FiguresCollector(everything).collect(), *REGISTRY.collect()]:
        for sample in family.samples:
            # Only where another test has switched them on again.
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, set())
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[tuple[str, str]]:
    """Each expression, with the texts that show its labels."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    targets = [target for panel in panels for target in panel["targets"]]
    drawn = [(target["expr"], target["legendFormat"]) for target in targets]
    return drawn + [(rule["expr"], rule["annotations"]["summary"]) for rule in rules()]


@pytest.mark.parametrize(("expression", "text"), expressions())
def test_metrics_and_labels_exist(expression: str, text: str) -> None:
    known = shown()
    used = SELECTOR.findall(expression)
    assert used
    labels = set(TARGET_LABELS)
    for name, matchers in used:
        assert name in known
        labels |= known[name]
        assert set(MATCHER.findall(matchers)) <= known[name] | TARGET_LABELS
    grouped = [name.strip() for names in GROUPED.findall(expression) for name in names.split(",")]
    assert set(grouped) <= labels
    assert set(SHOWN.findall(text)) <= set(grouped) | (set() if grouped else labels)


def test_every_metric_of_ours_is_documented_and_drawn() -> None:
    ours = {name for name in shown() if name.startswith("billing_")}
    families = {SERIES.sub("", name) for name in ours}
    reference = (ROOT / "docs/reference/metrics.md").read_text()
    assert set(re.findall(r"`(billing_\w+)`", reference)) == families
    drawn = " ".join(expression for expression, _ in expressions())
    assert [name for name in families if name not in drawn] == []


def test_every_alert_has_its_page_of_the_runbook() -> None:
    alerts = {rule["alert"]: LINK.search(rule["annotations"]["runbook_url"]) for rule in rules()}
    linked = {link[1] for link in alerts.values() if link}
    assert linked == {name.lower() for name in alerts}
    assert anchors(RUNBOOK) - {"runbook"} == linked


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_rules_and_panels(tmp_path: Path) -> None:
    drawn = {
        "groups": [
            {
                "name": "dashboard",
                "rules": [
                    {
                        "record": f"panel_{number}",
                        "expr": expression.replace("$__rate_interval", "5m"),
                    }
                    for number, (expression, _) in enumerate(expressions())
                ],
            }
        ]
    }
    panels = tmp_path / "panels.yml"
    panels.write_text(yaml.safe_dump(drawn))
    command = ["promtool", "check", "rules", str(RULES), str(panels)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
