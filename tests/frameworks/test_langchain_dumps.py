"""Dumps of the LangChain compressor: what they hold, what `loads` restores, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.load import dumpd, dumps, loads
from langchain_core.load.serializable import Serializable
from langchain_core.retrievers import BaseRetriever
from pydantic import SecretStr
from tests.support.frameworks import COHERE, LOCAL, NVIDIA, Face, Wire
from tests.support.harness import KEY

from anyrerank import Reranker
from anyrerank.langchain import AnyRerank, RerankRetriever, RerankRunnable
from anyrerank.providers.cohere import Cohere

pytestmark = pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
ITEMS = ["c 0.3", "a 0.9", "b 0.5"]
HEADER = "header-5Gk2"


def _loads(text: str, **secrets: Any) -> AnyRerank:
    found = loads(text, allowed_objects=[AnyRerank], valid_namespaces=["anyrerank"], **secrets)
    assert isinstance(found, AnyRerank)
    return found


class _Found(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("a 0.9")]


@pytest.mark.parametrize("source", ["argument", "environment", "nowhere"])
def test_dump_refers_to_the_key(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    if source == "environment":
        monkeypatch.setenv("CO_API_KEY", KEY)
    compressor = AnyRerank(model=COHERE, top_n=3, api_key=SecretStr(KEY) if source == "argument" else None)
    dumped = dumpd(compressor)
    secret = {"lc": 1, "type": "secret", "id": ["COHERE_API_KEY"]}
    assert dumped["id"] == ["anyrerank", "langchain", "AnyRerank"]
    assert dumped["type"] == "constructor"
    assert dumped["kwargs"].items() >= {"model": COHERE, "top_n": 3}.items()
    assert dumped["kwargs"].get("api_key") == (None if source == "nowhere" else secret)
    assert KEY not in dumps(compressor)


def test_loads_takes_the_key_from_a_map_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    text = dumps(AnyRerank(model=COHERE, api_key=SecretStr(KEY)))
    wire = Wire()
    loaded = [_loads(text), _loads(text, secrets_map={"COHERE_API_KEY": "from-map"})]
    monkeypatch.setenv("COHERE_API_KEY", "from-environment")
    loaded.append(_loads(text, secrets_from_env=True))
    assert loaded[0].api_key is None
    for compressor in loaded:
        compressor.http_client = wire.client(asynchronous=False)
        compressor.compress_documents([Document(text) for text in ITEMS], "query")
    keys = [request.headers["authorization"] for request in wire.requests]
    assert keys == ["Bearer from-environment", "Bearer from-map", "Bearer from-environment"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"score_threshold": 0.0},
        {"max_retries": 0},
        {"fuse": None},
        {"timeout": None},
        {"trace_content": False, "trace_as": "retriever", "metadata_key": "score"},
        {"api_base": "http://127.0.0.1:9/v2", "batch_size": 5, "max_concurrency": 1},
        {"rank_fields": ("title", "text"), "dedupe": True, "keep_retrieval_score": True},
        {"fallbacks": ("cohere/rerank-v4.0-fast",), "on_error": "passthrough"},
        {"max_tokens_per_doc": 99, "extra_body": {"a": {"b": [1, None]}}, "drop_params": True},
        {"model": NVIDIA, "truncate": "END", "score_mode": "unit", "top_n": 7},
        {"model": "rerank-v3.5", "provider": "cohere", "user": "someone"},
        {"model": LOCAL},
        {"metadata": {"team": "search", "tags": ["a"]}},
    ],
    ids=str,
)
def test_round_trip_keeps_every_field(fields: dict[str, Any]) -> None:
    compressor = AnyRerank(**{"model": COHERE, **fields})
    loaded = _loads(dumps(compressor))
    assert loaded == compressor
    assert loaded.model_dump() == compressor.model_dump()
    assert loaded.model_dump().items() >= fields.items()


def test_path_of_prices_is_dumped_as_a_string(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text("{}")
    assert _loads(dumps(AnyRerank(model=COHERE, prices=path))).prices == str(path)


def test_dump_of_a_local_model_has_no_secret() -> None:
    assert '"secret"' not in dumps(AnyRerank(model=LOCAL))


def _everywhere(compressor: AnyRerank) -> dict[str, str]:
    """Every text that stores or shows a compressor."""
    around = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=_Found())
    retriever = RerankRetriever(base_retriever=_Found(), reranker=compressor)
    runnable = compressor.as_runnable()
    shown = {f"repr {type(each).__name__}": repr(each) for each in (compressor, around, retriever, runnable)}
    shown |= {f"dumps {type(each).__name__}": dumps(each) for each in (compressor, around, retriever, runnable)}
    shown["dict"] = str(compressor.model_dump())
    shown["json"] = compressor.model_dump_json()
    return shown


@pytest.mark.parametrize("source", ["argument", "environment"])
def test_dump_holds_no_secret(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    if source == "environment":
        monkeypatch.setenv("COHERE_API_KEY", KEY)
    key = SecretStr(KEY) if source == "argument" else None
    shown = _everywhere(AnyRerank(model=COHERE, api_key=key, headers={"x-secret": HEADER}))
    assert not [where for where, text in shown.items() if KEY in text or HEADER in text]


@pytest.mark.parametrize("part", ["reranker", "http_client", "text_fn"])
def test_dump_of_an_object_is_not_implemented(part: str) -> None:
    reranker = Reranker(COHERE, api_key=KEY, headers={"x-secret": HEADER})
    parts: dict[str, dict[str, Any]] = {
        "reranker": {"reranker": reranker},
        "http_client": {"model": COHERE, "http_client": Wire().client(asynchronous=False), "api_key": KEY},
        "text_fn": {"model": COHERE, "text_fn": lambda document: KEY, "api_key": KEY},
    }
    compressor = AnyRerank(**parts[part])
    assert json.loads(dumps(compressor))["type"] == "not_implemented"
    shown = _everywhere(compressor)
    assert not [where for where, text in shown.items() if KEY in text or HEADER in text]


@pytest.mark.parametrize(
    "fields",
    [{"model": COHERE, "fallbacks": [LOCAL, Reranker(NVIDIA)]}, {"model": "rerank-v3.5", "provider": Cohere}],
    ids=["fallbacks", "provider"],
)
def test_dump_of_a_fallback_or_provider_object_is_not_implemented(fields: dict[str, Any]) -> None:
    compressor = AnyRerank(api_key=SecretStr(KEY), **fields)
    assert json.loads(dumps(compressor))["type"] == "not_implemented"
    assert KEY not in dumps(compressor)


def test_dump_is_the_same_after_a_call() -> None:
    face = Face("langchain", asynchronous=False)
    wire = Wire()
    compressor = face.make(wire)
    face.rerank(compressor, ITEMS)
    compressor.http_client = None
    assert dumps(compressor) == dumps(face.make())


def test_dump_of_a_subclass_has_its_name() -> None:
    class Mine(AnyRerank):
        """A subclass."""

    assert dumpd(Mine(model=COHERE))["id"][-1] == "Mine"


def test_runnable_is_loaded_with_its_compressor(monkeypatch: pytest.MonkeyPatch) -> None:
    runnable = RerankRunnable(compressor=AnyRerank(model=COHERE, api_key=SecretStr(KEY)), top_n=2, name="best")
    text = dumps(runnable)
    assert KEY not in text
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    allowed: list[type[Serializable]] = [AnyRerank, RerankRunnable]
    loaded = loads(text, allowed_objects=allowed, valid_namespaces=["anyrerank"], secrets_from_env=True)
    wire = Wire()
    loaded.compressor.http_client = wire.client(asynchronous=False)
    found = loaded.invoke({"query": "a question", "documents": [Document(text) for text in ITEMS]})
    assert [document.page_content for document in found] == ["a 0.9", "b 0.5"]
    assert (loaded.name, wire.requests[0].headers["authorization"]) == ("best", f"Bearer {KEY}")


def test_dump_of_a_runnable_with_an_object_says_what_is_not_implemented() -> None:
    text = dumps(AnyRerank(model=LOCAL, hooks=[print]).as_runnable())
    assert json.loads(text)["kwargs"]["compressor"]["type"] == "not_implemented"
