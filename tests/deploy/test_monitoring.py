"""The dashboard and the alerts ask for metrics and labels that a gateway with keys and traffic has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.gateway import entry
from tests.support.keys import paid, serving
from tests.support.pages import ROOT

from anyrerank import MemoryCache
from anyrerank.gateway.keys import StateCollector
from anyrerank.state import RedisState
from anyrerank.testing import StubServer

BOARD = json.loads((ROOT / "deploy" / "grafana" / "anyrerank.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
OF_PROMETHEUS = {"job", "instance", "le"}
_METRIC = re.compile(r"\b((?:anyrerank|process)_[a-z_]+)(?:\{([^}]*)\})?")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory, _redis: str) -> dict[str, set[str]]:
    """The labels of each metric that has a value."""
    folder = tmp_path_factory.mktemp("gateway")
    with StubServer() as vendor:
        models = [paid(vendor.url), entry("spare"), paid(vendor.url, "alone", "voyage/rerank-2.5")]
        router = {
            "fallbacks": [{"rerank": ["spare"]}],
            "num_retries": 0,
            "on_error": "passthrough",
            "cache": MemoryCache(),
        }
        with serving(folder, models, router=router) as gateway:
            key = gateway.new_key(key_alias="rag", max_budget=1)
            for model in ("rerank", "rerank", "alone"):
                assert gateway.rerank(key, model=model).status_code == 200
            vendor.fail(500)
            for model in ("rerank", "alone"):
                assert gateway.rerank(key, model=model, query="blue planet").status_code == 200
            assert gateway.rerank("sk-unknown").status_code == 401
            text = httpx.get(f"{gateway.url}/metrics").text
    with RedisState(_redis) as state:  # what a gateway with replicas has in addition
        registry = CollectorRegistry()
        registry.register(StateCollector(state))
        text += generate_latest(registry).decode()
    return {
        sample.name: set(sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples
    }


def expressions() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    yield from ((rule["alert"], rule["expr"]) for rule in ALERTS)


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_metrics_and_labels_exist(where: str, expression: str, exposed: dict[str, set[str]]) -> None:
    used = _METRIC.findall(expression)
    assert used or expression.startswith("up{")
    known = set(OF_PROMETHEUS)
    for name, selector in used:
        assert name in exposed
        assert set(re.findall(r"(\w+)(?:=|!)", selector)) <= exposed[name] | OF_PROMETHEUS
        known |= exposed[name]
    for names in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(names.split(", ")) <= known


def test_every_metric_of_a_gateway_is_on_the_dashboard(exposed: dict[str, set[str]]) -> None:
    shown = {name for panel in PANELS for target in panel["targets"] for name, _ in _METRIC.findall(target["expr"])}
    ours = {re.sub(r"_(sum|count|created)$", "_bucket", name) for name in exposed if name.startswith("anyrerank_")}
    assert ours == {name for name in shown if name.startswith("anyrerank_")}


def test_panels_have_their_own_ids_and_places() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]]
    assert len(set(places)) == len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_text_of_an_alert_names_labels_that_the_alert_has(
    rule: dict[str, object], exposed: dict[str, set[str]]
) -> None:
    text, expression = json.dumps(rule["annotations"]), str(rule["expr"])
    grouped = [set(names.split(", ")) for names in re.findall(r"\bby \(([^)]*)\)", expression)]
    (name, _), *_ = [*_METRIC.findall(expression), ("up", "")]
    kept = grouped[0] if grouped else exposed.get(name, set()) | OF_PROMETHEUS
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept
