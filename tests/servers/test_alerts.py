"""The alerts and the dashboard, checked by Prometheus itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.pages import ROOT

PROMTOOL = shutil.which("promtool")
FOLDER = ROOT / "deploy" / "prometheus"
BOARD = ROOT / "deploy" / "grafana" / "anyrerank.json"
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: install prometheus")


def promtool(*arguments: str) -> str:
    """What promtool prints if it finds no fault."""
    done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_are_valid() -> None:
    assert "rules found" in promtool("check", "rules", str(FOLDER / "alerts.yaml"))


def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", str(FOLDER / "alerts_test.yaml"))


def test_expressions_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    panels = json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    filled_in = [re.sub(r"\$__\w+", "5m", each) for each in found]
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(filled_in)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(tmp_path / "rules.yaml"))
