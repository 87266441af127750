"""The manifests fit Kubernetes' schemas, and what they name exists in the product."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.support.pages import ROOT
from typer.testing import CliRunner

from anyrerank.cli.app import app
from anyrerank.gateway.configuration import config_of_file
from anyrerank.gateway.operation import LIVENESS, READINESS

FOLDER = ROOT / "deploy" / "kubernetes"
CONFIG = FOLDER / "config.yaml"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
APART = ("secret.example.yaml", "upgrade.yaml")
MANIFESTS = {
    name: yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in (*KUSTOMIZATION["resources"], *APART)
}
DEPLOYMENT = MANIFESTS["deployment.yaml"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(GATEWAY,) = POD["containers"]
SECRET: dict[str, str] = MANIFESTS["secret.example.yaml"]["stringData"]
FILLED_IN = {
    "DATABASE_URL": "postgresql://user:password@host:5432/anyrerank",
    "REDIS_URL": "rediss://:password@host:6379/0",
}


@pytest.fixture
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRET:
        monkeypatch.setenv(name, FILLED_IN.get(name, "sk-a-value-that-was-filled-in"))


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_fits_the_schema_of_its_kind(name: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(MANIFESTS[name], kubernetes_validate.latest_version(), strict=True)


def test_every_file_is_used() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    named = {"kustomization.yaml", *KUSTOMIZATION["resources"], *generated["files"], *APART}
    assert {path.name for path in FOLDER.iterdir()} == named


@pytest.mark.parametrize(
    ("probe", "paths"), [("startupProbe", LIVENESS), ("livenessProbe", LIVENESS), ("readinessProbe", READINESS)]
)
def test_probe_asks_a_route_of_the_gateway(probe: str, paths: tuple[str, ...]) -> None:
    asked = GATEWAY[probe]["httpGet"]
    assert asked["path"] in paths
    assert asked["port"] in {port["name"] for port in GATEWAY["ports"]}


def test_ports_are_those_of_the_image() -> None:
    (port,) = GATEWAY["ports"]
    (service,) = MANIFESTS["service.yaml"]["spec"]["ports"]
    (rule,) = MANIFESTS["network.yaml"]["spec"]["ingress"]
    assert re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE) == [str(port["containerPort"])]
    assert f'"--port", "{port["containerPort"]}"' in DOCKERFILE
    assert service["targetPort"] == port["name"]
    assert [each["port"] for each in rule["ports"]] == [port["name"]]


def test_arguments_are_those_of_the_command_line() -> None:
    option, path = GATEWAY["args"]
    helped = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["serve", "--help"]).output
    assert option in helped.split()
    (mount,) = (each for each in GATEWAY["volumeMounts"] if each["name"] == "config")
    assert path == f"{mount['mountPath']}/{CONFIG.name}"


def test_rollout_of_a_changed_configuration_is_not_refused() -> None:
    helped = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["serve", "--help"]).output
    (value,) = (each["value"] for each in GATEWAY["env"] if each["name"] == "ANYRERANK_ROLLING_CHANGE")
    assert value == "1"
    assert "ANYRERANK_ROLLING_CHANGE" in helped


def test_upgrade_is_a_command() -> None:
    (container,) = MANIFESTS["upgrade.yaml"]["spec"]["template"]["spec"]["containers"]
    program, *command = container["command"]
    assert program == "anyrerank"
    assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0
    (variable,) = container["env"]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "anyrerank", "key": variable["name"]}
    assert variable["name"] in SECRET


@pytest.mark.usefixtures("_secret")
def test_configuration_is_served_as_it_is() -> None:
    checked = CliRunner().invoke(app, ["check", "--config", str(CONFIG)])
    config = config_of_file(CONFIG)
    assert checked.exit_code == 0, checked.output
    assert (config.ignored, config.left_out) == ((), ())
    assert config.settings.redis_url is not None
    assert config.settings.database_url is not None


def test_secret_has_each_variable_of_the_configuration_and_no_value() -> None:
    named = re.findall(r"os\.environ/(\w+)", CONFIG.read_text(encoding="utf-8"))
    assert set(named) == set(SECRET)
    assert set(SECRET.values()) == {""}
    assert GATEWAY["envFrom"] == [{"secretRef": {"name": MANIFESTS["secret.example.yaml"]["metadata"]["name"]}}]


@pytest.mark.usefixtures("_secret")
def test_pod_may_take_as_long_as_the_gateway_needs_to_drain() -> None:
    settings = config_of_file(CONFIG).settings
    assert POD["terminationGracePeriodSeconds"] >= settings.drain_delay + settings.shutdown_timeout + 10


def test_gateway_needs_neither_root_nor_a_disk_that_can_be_written() -> None:
    user = re.findall(r"--uid (\d+)", DOCKERFILE)
    assert [str(POD["securityContext"]["runAsUser"])] == user == re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    assert GATEWAY["securityContext"]["readOnlyRootFilesystem"]
    mounts = {mount["mountPath"]: mount["name"] for mount in GATEWAY["volumeMounts"]}
    empty = {volume["name"] for volume in POD["volumes"] if "emptyDir" in volume}
    (state,) = (each["value"] for each in GATEWAY["env"] if each["name"] == "XDG_STATE_HOME")
    assert {mounts[state], mounts["/tmp"]} == empty  # noqa: S108


def test_everything_selects_the_pods() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    service, disruption, network = (MANIFESTS[f"{name}.yaml"]["spec"] for name in ("service", "disruption", "network"))
    selectors: list[dict[str, Any]] = [
        DEPLOYMENT["selector"]["matchLabels"],
        service["selector"],
        disruption["selector"]["matchLabels"],
        network["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]),
    ]
    assert all(each == labels for each in selectors)
    target = MANIFESTS["autoscaler.yaml"]["spec"]["scaleTargetRef"]
    assert target["name"] == MANIFESTS["deployment.yaml"]["metadata"]["name"]
