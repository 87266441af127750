"""Dumps of the LlamaIndex postprocessor: what they hold, what they restore, and no secret."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import (
    MetadataMode,
    NodeWithScore,
)
from tests.support.frameworks import COHERE, LOCAL, NVIDIA, Face, Wire, face_fixture, scored_nodes
from tests.support.harness import KEY

from anyrerank import BadRequestError, ConfigurationError, MemoryCache, Reranker
from anyrerank.llama_index import AnyRerank
from anyrerank.providers.cohere import Cohere

face = face_fixture("llama_index")


def _found() -> list[NodeWithScore]:
    return scored_nodes("c 0.3", "a 0.9", "b 0.5")


SETTINGS: list[dict[str, Any]] = [
    {},
    {"top_n": 2, "score_threshold": 0.0, "score_mode": "unit", "max_retries": 0, "timeout": None, "fuse": None},
    {"metadata_mode": MetadataMode.LLM, "images": "skip", "rank_fields": ("title",), "keep_retrieval_score": True},
    {"api_base": "http://127.0.0.1:9/v2", "max_tokens_per_doc": 5, "extra_body": {"a": [1]}},
    {"model": NVIDIA, "truncate": "END", "fallbacks": (LOCAL,), "on_error": "passthrough", "drop_params": True},
    {"model": "rerank-v3.5", "provider": "cohere", "batch_size": 3, "max_concurrency": 2, "dedupe": True},
    {"metadata": {"team": "search", "tags": ["a"]}, "user": "ann"},
]


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
@pytest.mark.parametrize("form", ["dict", "json", "json of a dict"])
def test_round_trip_keeps_every_field(fields: dict[str, Any], form: str) -> None:
    reranker = AnyRerank(**{"model": COHERE, **fields})
    if form == "dict":
        restored = AnyRerank.from_dict(reranker.to_dict())
    elif form == "json":
        restored = AnyRerank.from_json(reranker.to_json())
    else:
        restored = AnyRerank.from_dict(json.loads(json.dumps(reranker.to_dict())))
    assert restored.to_dict() == reranker.to_dict()
    assert restored.to_dict()["class_name"] == "AnyRerank"
    assert restored.to_dict().items() >= fields.items()


def test_path_of_prices_is_dumped_as_a_string(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text("{}")
    restored = AnyRerank.from_json(AnyRerank(model=COHERE, prices=path).to_json())
    assert restored.prices == str(path)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"model": COHERE, "text_fn": str}, "text_fn cannot be dumped"),
        ({"reranker": Reranker(LOCAL)}, "a reranker or router cannot be dumped"),
        ({"model": COHERE, "fallbacks": [LOCAL, Reranker(NVIDIA)]}, "fallbacks cannot be dumped"),
        ({"model": "rerank-v3.5", "provider": Cohere}, "provider cannot be dumped"),
    ],
    ids=["text_fn", "reranker", "fallbacks", "provider"],
)
def test_to_dict_refuses_what_would_change_the_ranking(fields: dict[str, Any], problem: str) -> None:
    for write in (AnyRerank.to_dict, AnyRerank.to_json):
        with pytest.raises(ConfigurationError, match=problem):
            write(AnyRerank(**fields))


def test_to_dict_leaves_out_what_does_not_change_the_ranking(wire: Wire) -> None:
    plain = AnyRerank(model=COHERE)
    full = AnyRerank(
        model=COHERE,
        hooks=[print],
        cache=MemoryCache(),
        http_client=wire.client(asynchronous=False),
        headers={"a": "b"},
    )
    assert full.to_dict() == plain.to_dict()


def test_from_json_gives_an_equal_adapter(wire: Wire) -> None:
    reranker = AnyRerank(model=COHERE, top_n=2)
    assert AnyRerank.from_json(reranker.to_json()) == reranker
    assert AnyRerank.from_json(reranker.to_json(), top_n=3) != reranker


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_dump_holds_no_secret(face: Face, wire: Wire, used: bool) -> None:
    reranker = face.make(wire, headers={"x-secret": "header-5Gk2"})
    if used:
        face.rerank(reranker, _found())
    shown = [str(reranker.to_dict()), reranker.to_json(), reranker.json(), repr(reranker), str(reranker.dict())]
    assert not [text for text in shown if KEY in text or "header-5Gk2" in text]


def test_from_json_finds_the_key_in_the_environment(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = face.make(api_base="http://proxy", top_n=1).to_json()
    monkeypatch.setenv("COHERE_API_KEY", "from-environment")
    restored = AnyRerank.from_json(stored, http_client=wire.client(asynchronous=face.asynchronous))
    assert len(face.rerank(restored, _found())) == 1
    assert wire.requests[0].headers["authorization"] == "Bearer from-environment"
    assert str(wire.requests[0].url) == "http://proxy/v2/rerank"


def test_from_dict_refuses_an_unknown_field() -> None:
    with pytest.raises(BadRequestError, match="top_k"):
        AnyRerank.from_dict({**AnyRerank(model=COHERE).to_dict(), "top_k": 2})


def test_pickle_keeps_metadata_mode_and_key() -> None:
    original = AnyRerank(model=COHERE, api_key=KEY, metadata_mode=MetadataMode.LLM)
    restored = pickle.loads(pickle.dumps(original))  # noqa: S301
    assert restored.metadata_mode is MetadataMode.LLM
    assert restored.api_key == original.api_key
