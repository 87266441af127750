"""Every provider describes itself and has a recording, and each recorded call gives the recorded result."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.contract.provider_dialect import contracted, each_provider
from tests.support.harness import WIRE, Mode, Replay, recording

import anyrerank
from anyrerank import RerankError, RerankResponse
from anyrerank._core.engine import CONNECTION, Options
from anyrerank.providers import load, names


def recorded_calls() -> list[Any]:
    """Every recorded call. A missing recording fails in a test of its own, not here."""
    recorded = [name for name in contracted() if (WIRE / f"{name}.json").exists()]
    return [
        pytest.param(name, each, id=f"{name}-{each['name']}") for name in recorded for each in recording(name)["cases"]
    ]


@pytest.mark.parametrize("name", names())
def test_provider_has_a_recording(name: str) -> None:
    recorded = recording(name)
    if "elsewhere" in recorded:
        assert (WIRE.parent.parent / recorded["elsewhere"]).exists()
        return
    titles = [each["name"] for each in recorded["cases"]]
    assert recorded["plain"] in titles
    assert len(titles) == len(set(titles))


def test_missing_recording_fails_with_what_to_record() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"write tests/wire/acme\.json"):
        recording("acme")


def test_recording_has_a_provider() -> None:
    assert {path.stem for path in WIRE.glob("*.json")} <= set(names())


@each_provider
def test_provider_attributes_are_complete(name: str) -> None:
    kind = load(name)
    assert kind.prefix == name
    assert kind.title
    assert kind.__doc__
    assert kind.scale in ("unit", "logit", "unknown")
    for variable in (*kind.key_variables, *kind.base_variables):
        assert variable == variable.upper()
    assert kind.default_base is None or kind.default_base.startswith("https://")
    assert kind.key_page is None or kind.key_page.startswith("https://")
    assert kind.key_page or not kind.needs_key or kind.default_base is None, "say where a key of this vendor comes from"
    unified = {"instruction", "max_chunks_per_doc", "max_tokens_per_doc", "priority", "truncate"}
    assert all(option.isidentifier() for option in kind.options)
    assert not kind.options & ((Options.model_fields.keys() - unified) | CONNECTION)


@pytest.mark.parametrize(("name", "recorded"), recorded_calls())
def test_recorded_call(
    name: str, recorded: dict[str, Any], mode: Mode, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    for variable, value in recorded.get("env", {}).items():
        monkeypatch.setenv(variable, value)
    replay = Replay(recorded["exchanges"])
    call = {"max_retries": 0, "http_client": replay.client(mode), **recorded["call"]}
    before = json.dumps(recorded["call"])
    if "error" in recorded:
        with pytest.raises(RerankError) as caught:
            mode.function(**call)
        check_error(caught.value, name, recorded)
    else:
        check_response(mode.function(**call), name, recorded)
    replay.check()
    assert json.dumps(recorded["call"]) == before


def check_error(error: RerankError, name: str, recorded: dict[str, Any]) -> None:
    expected = recorded["error"]
    assert type(error) is getattr(anyrerank, expected["class"])
    assert expected["says"] in error.message
    assert (error.provider, error.model) == (name, recorded["call"]["model"].partition("/")[2])
    assert error.status_code == expected.get("status")
    assert error.request_id == expected.get("request_id")
    assert error.retry_after == expected.get("retry_after")


def check_response(response: RerankResponse, name: str, recorded: dict[str, Any]) -> None:
    expected = recorded["expect"]
    tolerance = 0.0 if recorded["exchanges"] else 1e-11  # without a server, the scores are computed here
    found = [(each.index, each.document) for each in response.results]
    assert found == [(row["index"], row["document"]) for row in expected["results"]]
    scores = [row["relevance_score"] for row in expected["results"]]
    assert [each.relevance_score for each in response.results] == pytest.approx(scores, rel=0, abs=tolerance)
    assert response.meta == expected["meta"]
    assert response.id == expected["id"] or (expected["id"] is None and response.id.startswith("rerank-"))
    assert response.provider == name
