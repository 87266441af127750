"""The page about deployment links to every file that a deployment needs, and its examples fit these files."""

from __future__ import annotations

import re

import yaml
from tests.support.pages import ROOT, blocks

PAGE = ROOT / "docs" / "deployment.md"
FOLDER = ROOT / "deploy" / "kubernetes"


def test_every_file_of_a_deployment_is_linked_and_so_on_the_site() -> None:
    linked = set(re.findall(r"\]\(\.\./([^)#]+)\)", PAGE.read_text(encoding="utf-8")))
    shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / "deploy").rglob("*") if path.is_file()}
    assert shipped | {"compose.yaml", "Dockerfile", ".env.example"} <= linked


def test_service_monitor_selects_the_service_and_reads_the_secret() -> None:
    (monitor,) = (each for each in map(yaml.safe_load, blocks(PAGE, "yaml")) if each.get("kind") == "ServiceMonitor")
    service, secret, base = (
        yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
        for name in ("service.yaml", "secret.example.yaml", "kustomization.yaml")
    )
    (labels,) = (each["pairs"] for each in base["labels"])
    (endpoint,) = monitor["spec"]["endpoints"]
    credentials = endpoint["authorization"]["credentials"]
    assert monitor["spec"]["selector"]["matchLabels"] == labels
    assert labels[monitor["spec"]["jobLabel"]] == "anyrerank"  # the job in alerts.yaml
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert credentials["name"] == secret["metadata"]["name"]
    assert credentials["key"] in secret["stringData"]
