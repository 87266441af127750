"""Every provider's recorded exchange, through LangChain and LlamaIndex, in sync and async."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.support.frameworks import FACES, Face
from tests.support.harness import KEY, WIRE, Replay, recording

from anyrerank import BadRequestError, InternalServerError
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
def test_recorded_call(name: str, face: Face) -> None:
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


@pytest.mark.parametrize("face", [FACES[0], FACES[2]], ids=str)
def test_secret_settings_are_kept_out_of_dumps(face: Face) -> None:
    with pytest.raises(BadRequestError, match="aws_secret_access_key"):
        face.kind(model="bedrock/cohere.rerank-v3-5:0", options={"aws_secret_access_key": "s3cr3t-0123"})
    adapter = face.kind(
        model="bedrock/cohere.rerank-v3-5:0",
        options={"aws_region_name": "us-west-2"},
        credentials={"aws_access_key_id": "AKIA0123", "aws_secret_access_key": "s3cr3t-0123"},
    )
    assert adapter.model_dump()["options"] == {"aws_region_name": "us-west-2"}
    for shown in (repr(adapter), str(adapter.model_dump()), adapter.model_dump_json()):
        assert "s3cr3t" not in shown
        assert "AKIA" not in shown


@pytest.mark.parametrize("face", [FACES[0], FACES[2]], ids=str)
def test_options_and_settings_may_be_given_by_name(face: Face) -> None:
    adapter = face.kind(
        model="bedrock/cohere.rerank-v3-5:0",
        aws_region_name="us-west-2",
        aws_secret_access_key="s3cr3t-0123",
        aws_access_key_id="AKIA0123",
        additional_model_request_fields={"a": 1},
    )
    assert adapter.options == {"aws_region_name": "us-west-2", "additional_model_request_fields": {"a": 1}}
    assert adapter.credentials == {"aws_secret_access_key": "s3cr3t-0123", "aws_access_key_id": "AKIA0123"}
    assert "s3cr3t" not in f"{adapter!r} {adapter.model_dump()} {adapter.model_dump_json()}"
    with pytest.raises(BadRequestError, match="no option aws_region_name"):
        face.kind(model="cohere/rerank-v3.5", aws_region_name="us-west-2")


@pytest.mark.parametrize("face", [FACES[0], FACES[2]], ids=str)
@pytest.mark.parametrize("place", ["options", "credentials"])
def test_a_field_is_not_hidden_among_others(place: str, face: Face) -> None:
    with pytest.raises(BadRequestError, match=f"{place} must not hold api_key") as caught:
        face.kind(model="cohere/rerank-v3.5", **{place: {"api_key": "sk-s3cr3t"}})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("face", [FACES[0], FACES[2]], ids=str)
def test_a_secret_that_is_put_into_options_later_is_not_dumped(face: Face) -> None:
    adapter = face.kind(model="watsonx/x", options={"project_id": "p-1"})
    adapter.options["token"] = "s3cr3t-0123"
    assert adapter.model_dump()["options"] == {"project_id": "p-1"}
    assert "s3cr3t" not in adapter.model_dump_json()


@pytest.mark.parametrize("face", FACES, ids=str)
def test_a_secret_string_is_sent_as_what_it_holds(face: Face) -> None:
    replay = Replay([{"response": {"status": 500, "json": {}}}])
    transport = httpx.MockTransport(replay)
    client = httpx.AsyncClient(transport=transport) if face.asynchronous else httpx.Client(transport=transport)
    adapter = face.make(
        model="watsonx/x",
        api_base="https://ibm.example",
        project_id="p-1",
        token=SecretStr("t-1"),
        api_key=None,
        http_client=client,
    )
    with pytest.raises(InternalServerError):
        face.rerank(adapter, ["a"])
    assert replay.seen[0].headers["authorization"] == "Bearer t-1"


@pytest.mark.parametrize("face", [FACES[0], FACES[2]], ids=str)
def test_a_subclass_with_a_model_of_its_own(face: Face) -> None:
    made = type("Mine", (face.kind,), {"__annotations__": {"model": str}, "model": "cohere/rerank-v3.5"})
    assert made(max_tokens_per_doc=5).max_tokens_per_doc == 5
    assert made(num_retries=7).max_retries == 7
    with pytest.raises(BadRequestError, match="options"):
        made(options=[1], max_tokens_per_doc=5)
