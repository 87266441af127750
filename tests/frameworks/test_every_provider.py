"""Every provider's recorded exchange, through LangChain and LlamaIndex, in sync and async."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.support.frameworks import FACES, Face
from tests.support.harness import KEY, WIRE, Replay, recording

from anyrerank._adapters import RerankFields
from anyrerank.providers import load, names

RECORDED = [name for name in names() if (WIRE / f"{name}.json").exists() and "plain" in recording(name)]


def plain(name: str) -> dict[str, Any]:
    recorded = recording(name)
    found: dict[str, Any] = next(each for each in recorded["cases"] if each["name"] == recorded["plain"])
    return found


def fields(name: str) -> dict[str, Any]:
    """The recorded call as the fields of an adapter."""
    given = {key: value for key, value in plain(name)["call"].items() if key not in ("query", "documents", "api_key")}
    own = {key: given.pop(key) for key in list(given) if key not in RerankFields.model_fields}
    secret = {key for key, setting in load(name).settings.items() if setting.secret}
    return {
        **given,
        "api_key": KEY,
        "options": {key: value for key, value in own.items() if key not in secret},
        "credentials": {key: value for key, value in own.items() if key in secret},
    }


@pytest.mark.parametrize("face", FACES, ids=str)
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_call_through_an_adapter(name: str, face: Face) -> None:
    recorded = plain(name)
    replay = Replay(recorded["exchanges"])
    transport = httpx.MockTransport(replay)
    client = httpx.AsyncClient(transport=transport) if face.asynchronous else httpx.Client(transport=transport)
    adapter = face.make(http_client=client, fuse=None, **fields(name))
    ranked = face.ranked(adapter, recorded["call"]["documents"], recorded["call"]["query"])

    expected = [(row["document"]["text"], row["relevance_score"]) for row in recorded["expect"]["results"]]
    assert [text for text, _ in ranked] == [text for text, _ in expected]
    assert [score for _, score in ranked] == pytest.approx([score for _, score in expected], abs=1e-11)
    replay.check_bodies()
    assert [str(request.url) for request in replay.seen] == [each["request"]["url"] for each in recorded["exchanges"]]
