"""What the page about LiteLLM says that the gateway does not have is refused, missing or ignored as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
import yaml
from tests.support.gateway import MASTER_KEY, entry
from tests.support.keys import Running, bearer, serving
from tests.support.pages import ROOT, blocks

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.configuration import config_of_file, service_of

PAGE = ROOT / "docs" / "migration" / "litellm.md"
_TABLE = re.compile(r"^\| LiteLLM's proxy has \|.*\n\| ---.*\n((?:\|.*\n)+)", re.MULTILINE)
CELLS = [row.split("|")[1] for row in _TABLE.findall(PAGE.read_text(encoding="utf-8"))[0].splitlines()]
NAMES = [name for cell in CELLS for name in re.findall(r"`(.+?)`", cell)]
ROUTES = [name for name in NAMES if name.startswith("/")]
REFUSED_FIELDS = [
    *("team_id", "organization_id", "budget_id", "model_max_budget", "model_rpm_limit", "model_tpm_limit"),
    *("allowed_routes", "permissions", "aliases", "auto_rotate"),
]
IGNORED_FIELDS = ["user_id", "soft_budget"]
REFUSED_SETTINGS = [name for name in NAMES if "." in name] + ["router_settings.provider_budget_config"]
IGNORED_SETTINGS = [
    "general_settings.alerting",
    "router_settings.retry_policy",
    "router_settings.allowed_fails_policy",
    "router_settings.context_window_fallbacks",
    "router_settings.content_policy_fallbacks",
]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path) as found:
        yield found


def read(folder: Path, setting: str) -> tuple[str, ...]:
    """The settings that have no effect in a file with this one."""
    section, name = setting.split(".")
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({"model_list": [entry("rerank")], section: {name: {"local": {"a": 1}}}}))
    config = config_of_file(file)
    service_of(config)
    return config.ignored


def test_every_name_in_the_table_is_tested() -> None:
    named = {setting.partition(".")[2] for setting in (*IGNORED_SETTINGS, *REFUSED_SETTINGS)}
    tested = {*ROUTES, *REFUSED_FIELDS, *IGNORED_FIELDS, *named, "grace_period"}
    assert {name if name in tested else name.partition(".")[2] for name in NAMES} == tested


def test_routes_and_fields_are_refused_or_ignored(gateway: Running) -> None:
    for route in ROUTES:
        for method in ("GET", "POST"):
            answer = httpx.request(method, f"{gateway.url}{route}", headers=bearer(MASTER_KEY))
            assert answer.status_code == 404, route
    for name in REFUSED_FIELDS:
        assert gateway.post("/key/generate", **{name: ["a"]}).status_code == 400, name
    warnings = gateway.post("/key/generate", user_id="u", soft_budget=1).json()["warnings"]
    assert [line.split()[0] for line in warnings] == IGNORED_FIELDS
    key = gateway.new_key()
    assert gateway.post("/key/regenerate", key=key, grace_period="1d").status_code == 400


@pytest.mark.parametrize("setting", REFUSED_SETTINGS)
def test_settings_are_an_error(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=setting.partition(".")[2]):
        read(tmp_path, setting)


@pytest.mark.parametrize("setting", IGNORED_SETTINGS)
def test_settings_that_are_ignored_are_named(setting: str, tmp_path: Path) -> None:
    assert read(tmp_path, setting) == (setting,)


def test_query_names_the_keys_that_litellm_would_accept_again(gateway: Running) -> None:
    for alias in ("kept", "revoked", "blocked", "renewed"):
        gateway.new_key(key_alias=alias)
    tokens = {each.key.key_alias: each.key.token for each in gateway.keyring.accounts()}
    assert gateway.post("/key/delete", key_aliases=["revoked"]).status_code == 200
    assert gateway.post("/key/block", key=tokens["blocked"]).status_code == 200
    assert gateway.post("/key/regenerate", key=tokens["renewed"]).status_code == 200
    (query,) = blocks(PAGE, "sql")
    engine = sa.create_engine(gateway.keyring.store.database.url)
    with closing(engine.connect()) as connection:
        found = [(alias, why) for alias, _, why in connection.execute(sa.text(query.rstrip().rstrip(";")))]
    engine.dispose()
    assert found == [("revoked", "revoked"), ("blocked", "blocked"), ("renewed", "new secret")]
