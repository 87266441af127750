"""The tables of the page about the gateway are those of the code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.support.pages import ROOT

from anyrerank._core.routing import read_config
from anyrerank._core.routing.guardrail_kinds import BUILT, PREBUILT
from anyrerank.gateway import GatewaySettings
from anyrerank.gateway.dialects import dialects
from anyrerank.guardrails import KINDS

PAGE = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")


def rows(head: str) -> list[list[str]]:
    """The cells of all tables whose head begins like this."""
    tables = re.findall(rf"^\| {head}.*\n\| ---.*\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for table in tables for line in table.splitlines()]


def test_every_route_of_every_dialect_is_listed() -> None:
    listed = {name.strip("`"): re.findall(r"`(.*?)`", routes) for name, routes in rows(r"dialect \| routes")}
    assert listed == {
        dialect.name: [
            *(f"POST {path}" for path in dialect.paths),
            *(f"GET {path}" for path in (*dialect.info_paths, *dialect.key_checks)),
        ]
        for dialect in dialects()
    }


def test_every_setting_is_listed_with_its_default() -> None:
    elsewhere = {"master_key", "database_url", "allow_requests_on_db_unavailable", "max_parallel_requests"}
    assert rows(r"setting \| default") == [
        [f"`{name}`", _shown(field.default), field.description]
        for name, field in GatewaySettings.model_fields.items()
        if name not in elsewhere
    ]


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int | float):
        return f"{default:,g}"
    return {"None": "", "{}": "{}", "()": "[]"}.get(str(default), str(default))


def test_what_works_of_each_guardrail_is_listed() -> None:
    listed = {kind.strip("`"): works for kind, works in rows("`guardrail`")}
    assert listed.keys() == {*BUILT, "module.name"}
    for names, works in ((KINDS, listed["presidio"]), (PREBUILT, listed["litellm_content_filter"])):
        assert ", ".join(f"`{name}`" for name in sorted(names)) in works


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Presidio does not support Python 3.14 yet")
def test_configuration_of_the_guardrails_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(guardrails:\n.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    file = tmp_path / "config.yaml"
    file.write_text(f"model_list: [{{model_name: m, litellm_params: {{model: local/lexical}}}}]\n{text}")
    config = read_config(file)
    assert [each.default_on for each in config.guardrails] == [True, False, False]


@pytest.mark.parametrize(("client", "base", "path"), rows("client"), ids=lambda cell: cell[:40])
def test_route_that_a_client_calls_is_served(client: str, base: str, path: str) -> None:
    (prefix,) = re.findall(r"`http://gateway(.*?)`", base)
    served = path.strip("`")
    assert served in {each for dialect in dialects() for each in dialect.paths}
    assert served.startswith(prefix)
