"""The description of the service."""

from __future__ import annotations

from typing import Any

import httpx
from tests.support.gateway import MASTER_KEY, gateway_of, running

from anyrerank.gateway.dialects import dialects
from anyrerank.gateway.keys import key_routes
from anyrerank.gateway.operation.openapi import description

ABOUT_KEYS = ("/key/", "/customer/", "/spend/", "/global/")
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def key_paths(method: str) -> set[tuple[str, str]]:
    """The routes for keys, end users and spend that are served."""
    return {
        (method, each.path.replace(":path}", "}"))
        for each in key_routes(gateway_of())
        if method in (each.methods or ())
    }


def test_description_has_every_path_of_every_dialect_and_no_model() -> None:
    with running(gateway_of()) as url:
        answer = httpx.get(f"{url}/openapi.json")

    described = answer.json()
    paths = described["paths"]
    of_dialects = {path for each in dialects() for path in each.paths}
    assert {path for path in paths if "post" in paths[path]} == of_dialects | {"/config/reload"} | {
        path for _, path in key_paths("POST")
    }
    assert {path for each in dialects() for path in each.info_paths} <= paths.keys()
    assert "local/lexical" not in answer.text
    for reference in references(described):
        assert reference.removeprefix("#/components/schemas/") in described["components"]["schemas"]


def test_described_paths_without_parameters_are_served() -> None:
    with running(gateway_of()) as url, httpx.Client(base_url=url, headers=HEADERS) as client:
        paths = client.get("/openapi.json").json()["paths"]
        gets = [path for path in paths if "get" in paths[path] and "{" not in path and not path.startswith(ABOUT_KEYS)]
        statuses = {path: client.get(path).status_code for path in gets}

    assert set(statuses.values()) == {200}


def test_what_is_described_as_open_needs_no_key() -> None:
    with running(gateway_of()) as url:
        paths = httpx.get(f"{url}/openapi.json").json()["paths"]
        gets = {path: paths[path]["get"] for path in paths if "get" in paths[path] and "{" not in path}
        statuses = {path: httpx.get(url + path).status_code for path in gets}

    assert {path for path, status in statuses.items() if status == 200} == {
        path for path, about in gets.items() if "security" in about
    }


def test_routes_for_keys_and_spend_are_described_with_their_fields() -> None:
    paths = description()["paths"]
    found = {(method.upper(), path) for path in paths if path.startswith(ABOUT_KEYS) for method in paths[path]}
    assert found == key_paths("GET") | key_paths("POST")
    body = paths["/key/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"max_budget", "rpm_limit", "models", "duration"} <= body["properties"].keys()
