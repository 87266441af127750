"""compose.yaml, the Dockerfile and the configuration of nginx name what exists, and hold no secret."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from tests.support.pages import ROOT

from anyrerank.gateway import GatewaySettings

TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]
GATEWAYS = {name: each for name, each in SERVICES.items() if name.startswith("gateway-")}
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
NGINX = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text(encoding="utf-8")
UPSTREAM = (ROOT / "deploy" / "nginx" / "gateways.conf").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
CONFIG = ROOT / "deploy" / "kubernetes" / "config.yaml"


def setting(name: str) -> str:
    """The only value of a setting of nginx."""
    (value,) = re.findall(rf"^\s*{name} ([^;]+);", NGINX, re.MULTILINE)
    return str(value)


def test_secrets_come_from_variables_that_the_example_names() -> None:
    assert set(re.findall(r"\$\{(\w+)", TEXT)) <= set(EXAMPLE)
    assert set(EXAMPLE.values()) == {""}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|AUTH|KEY|URL", name):
                assert "${" in value


def test_gateways_get_every_variable_of_the_configuration() -> None:
    named = set(re.findall(r"os\.environ/(\w+)", CONFIG.read_text(encoding="utf-8")))
    for service in GATEWAYS.values():
        assert service["env_file"] == ".env"
        assert named <= {*EXAMPLE, *service["environment"]}


def test_each_gateway_has_a_spool_of_its_own() -> None:
    spools = [volume for service in GATEWAYS.values() for volume in service["volumes"] if volume.endswith(":/data")]
    assert len(GATEWAYS) == len(set(spools)) == 2


def test_redis_forgets_no_budget() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command
    assert "redis:/data" in SERVICES["redis"]["volumes"]


def test_gateway_may_take_as_long_as_it_needs_to_drain() -> None:
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["anyrerank_settings"]
    for service in GATEWAYS.values():
        seconds = int(service["stop_grace_period"].rstrip("s"))
        assert seconds >= settings["drain_delay"] + settings["shutdown_timeout"] + 10


def test_restart_of_one_gateway_after_the_other_may_change_the_configuration() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert "$ export ANYRERANK_ROLLING_CHANGE=1" in page
    for name, service in GATEWAYS.items():
        assert service["environment"]["ANYRERANK_ROLLING_CHANGE"] is None  # that of the shell
        assert f"--force-recreate --wait {name}\n" in page


def test_proxy_knows_the_gateways_and_their_port() -> None:
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^server (\S+) ", UPSTREAM, re.MULTILINE) == [f"{name}:{port}" for name in GATEWAYS]
    (published,) = SERVICES["proxy"]["ports"]
    assert published.split(":")[-1] == setting("listen")


def test_connections_of_the_proxy_end_before_those_of_a_gateway_that_drains() -> None:
    shortest = min(int(each) for each in re.findall(r"keepalive_timeout (\d+)s;", NGINX))
    assert shortest < GatewaySettings().drain_delay


def test_proxy_takes_the_bodies_and_waits_for_the_answers_that_the_gateway_allows() -> None:
    assert int(setting("client_max_body_size").rstrip("m")) == GatewaySettings().max_body_mb
    assert int(setting("proxy_read_timeout").rstrip("s")) > 600


def test_image_has_what_the_configuration_needs_in_the_versions_that_the_tests_run_with() -> None:
    """And no file of another content: pip compares hashes."""
    assert DOCKERFILE.count("--require-hashes") == 2
    installed = pins(ROOT / "deploy" / "image" / "requirements.txt")
    assert {"alembic", "opentelemetry-api", "psycopg", "psycopg-binary", "redis", "uvicorn"} <= dict(installed).keys()
    assert installed | pins(ROOT / "deploy" / "image" / "build.txt") <= pins(ROOT / "constraints.txt")


def pins(file: Path) -> set[tuple[str, str]]:
    """The names and versions in a file of pip."""
    return set(re.findall(r"^([\w-]+)==([^\s;]+)", file.read_text(encoding="utf-8"), re.MULTILINE))
