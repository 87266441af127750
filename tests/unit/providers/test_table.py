"""Providers that are rows of the table: their names on the wire and in the environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, answering, sent_by
from tests.support.loopback import Line, Loopback, relevance

from anyrerank import AuthenticationError, BadRequestError, ConfigurationError, RerankResponse
from anyrerank.providers import load
from anyrerank.providers._table import ROWS

HOST = "https://gw.example"
VARIABLES: dict[str, tuple[list[str], str]] = {
    "cohere_compatible": (["COHERE_COMPATIBLE_API_KEY"], "COHERE_COMPATIBLE_API_BASE"),
    "contextual": (["CONTEXTUAL_API_KEY"], "CONTEXTUAL_API_BASE"),
    "isaacus": (["ISAACUS_API_KEY"], "ISAACUS_API_BASE"),
    "jina_compatible": (["JINA_COMPATIBLE_API_KEY"], "JINA_COMPATIBLE_API_BASE"),
    "localai": (["LOCALAI_API_KEY"], "LOCALAI_API_BASE"),
    "mixedbread": (["MXBAI_API_KEY", "MIXEDBREAD_API_KEY"], "MIXEDBREAD_API_BASE"),
    "novita": (["NOVITA_API_KEY"], "NOVITA_API_BASE"),
    "openrouter": (["OPENROUTER_API_KEY"], "OPENROUTER_API_BASE"),
    "scaleway": (["SCW_SECRET_KEY"], "SCALEWAY_API_BASE"),
    "sglang": (["SGLANG_API_KEY"], "SGLANG_API_BASE"),
    "siliconflow": (["SILICONFLOW_API_KEY"], "SILICONFLOW_API_BASE"),
    "xinference": (["XINFERENCE_API_KEY"], "XINFERENCE_API_BASE"),
    "zeroentropy": (["ZEROENTROPY_API_KEY"], "ZEROENTROPY_API_BASE"),
}
HOSTED = {
    "contextual": "https://api.contextual.ai/v1/rerank",
    "isaacus": "https://api.isaacus.com/v1/rerankings",
    "mixedbread": "https://api.mixedbread.com/v1/reranking",
    "novita": "https://api.novita.ai/openai/v1/rerank",
    "openrouter": "https://openrouter.ai/api/v1/rerank",
    "scaleway": "https://api.scaleway.ai/v1/rerank",
    "siliconflow": "https://api.siliconflow.cn/v1/rerank",
    "zeroentropy": "https://api.zeroentropy.dev/v1/models/rerank",
}
SELF_HOSTED = sorted(VARIABLES.keys() - HOSTED)

each_row = pytest.mark.parametrize("name", sorted(VARIABLES))
each_hosted = pytest.mark.parametrize("name", sorted(HOSTED))
each_self_hosted = pytest.mark.parametrize("name", SELF_HOSTED)


def test_every_row_is_tested() -> None:
    assert VARIABLES.keys() == ROWS.keys()


# Environment


@each_row
def test_key_is_read_from_the_first_variable_that_is_set(
    name: str, sync_mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, _ = VARIABLES[name]
    for variable in reversed(keys):
        monkeypatch.setenv(variable, f"from-{variable}")
        request = sent_by(sync_mode, f"{name}/m", api_base=HOST, api_key=None)
        assert request.headers["authorization"] == f"Bearer from-{variable}"
    assert sent_by(sync_mode, f"{name}/m", api_base=HOST, api_key="k").headers["authorization"] == "Bearer k"


@each_row
def test_base_url_is_read_from_the_environment(name: str, sync_mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[name][1], f"{HOST}/a/v1")
    assert str(sent_by(sync_mode, f"{name}/m").url).startswith(f"{HOST}/a/v1/")
    assert str(sent_by(sync_mode, f"{name}/m", api_base="https://b.example/v1").url).startswith("https://b.example/v1/")


@each_hosted
def test_default_url_is_the_one_of_the_vendor(name: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, f"{name}/m").url) == HOSTED[name]


@each_self_hosted
def test_missing_base_url_names_the_variable(name: str, mode: Mode) -> None:
    replay = answering({})
    with pytest.raises(ConfigurationError, match=VARIABLES[name][1]):
        mode.rerank(mode.reranker(f"{name}/m", http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert replay.seen == []


@each_self_hosted
@pytest.mark.parametrize("key", [None, "", " "])
def test_self_hosted_server_needs_no_key(name: str, key: str | None, sync_mode: Mode) -> None:
    request = sent_by(sync_mode, f"{name}/m", api_base=HOST, api_key=key)
    assert "authorization" not in request.headers
    assert "None" not in str(request.headers)


@each_hosted
def test_missing_key_names_the_variables(name: str, mode: Mode) -> None:
    replay = answering({})
    with pytest.raises(AuthenticationError) as caught:
        mode.rerank(mode.reranker(f"{name}/m", api_key=None, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert all(variable in caught.value.message for variable in VARIABLES[name][0])
    assert replay.seen == []


# Path


@pytest.mark.parametrize(
    ("name", "base", "url"),
    [
        ("zeroentropy", "https://eu-api.zeroentropy.dev", "https://eu-api.zeroentropy.dev/v1/models/rerank"),
        ("zeroentropy", f"{HOST}/v1", f"{HOST}/v1/models/rerank"),
        ("zeroentropy", f"{HOST}/v1/models/rerank/", f"{HOST}/v1/models/rerank"),
        ("isaacus", f"{HOST}/v1/rerankings", f"{HOST}/v1/rerankings"),
        ("isaacus", f"{HOST}/a", f"{HOST}/a/v1/rerankings"),
        ("mixedbread", "https://api.mixedbread.ai", "https://api.mixedbread.ai/v1/reranking"),
        ("mixedbread", f"{HOST}/v1/reranking", f"{HOST}/v1/reranking"),
        ("novita", "https://api.novita.ai", "https://api.novita.ai/openai/v1/rerank"),
        ("novita", "https://api.novita.ai/openai", "https://api.novita.ai/openai/v1/rerank"),
        ("novita", "https://api.novita.ai/openai/v1/", "https://api.novita.ai/openai/v1/rerank"),
        ("openrouter", "https://openrouter.ai", "https://openrouter.ai/api/v1/rerank"),
        ("openrouter", "https://openrouter.ai/api", "https://openrouter.ai/api/v1/rerank"),
        ("openrouter", "https://openrouter.ai/api/v1/rerank", "https://openrouter.ai/api/v1/rerank"),
        ("siliconflow", "https://api.ap.siliconflow.com", "https://api.ap.siliconflow.com/v1/rerank"),
        ("scaleway", "https://api.scaleway.ai/v1/rerank", "https://api.scaleway.ai/v1/rerank"),
        ("localai", "http://box:8080/rerank", "http://box:8080/rerank"),
        ("cohere_compatible", "http://box:8000/v3", "http://box:8000/v3/rerank"),
        ("jina_compatible", "https://api.pinference.ai/api/v1", "https://api.pinference.ai/api/v1/rerank"),
    ],
)
def test_url_composition(name: str, base: str, url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, f"{name}/m", api_base=base).url) == url


# Requests


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("sglang", {"instruction": "Find."}, {"documents": DOCUMENTS, "instruct": "Find."}),
        ("sglang", {"top_n": 2}, {"documents": DOCUMENTS, "top_n": 2}),
        ("isaacus", {"top_n": 2}, {"texts": DOCUMENTS, "top_n": 2}),
        ("isaacus", {"is_iql": False}, {"texts": DOCUMENTS, "is_iql": False}),
        ("mixedbread", {}, {"input": DOCUMENTS, "return_input": False, "top_k": 3}),
        ("mixedbread", {"top_n": 2}, {"input": DOCUMENTS, "return_input": False, "top_k": 2}),
        ("mixedbread", {"top_n": 50}, {"input": DOCUMENTS, "return_input": False, "top_k": 3}),
        ("openrouter", {"provider": {"only": ["Cohere"]}}, {"documents": DOCUMENTS, "provider": {"only": ["Cohere"]}}),
        ("siliconflow", {"overlap_tokens": 0}, {"documents": DOCUMENTS, "overlap_tokens": 0}),
        ("zeroentropy", {}, {"documents": DOCUMENTS}),
    ],
)
def test_body_has_the_names_of_the_provider(
    name: str, given: dict[str, Any], sent: dict[str, Any], sync_mode: Mode
) -> None:
    body = json.loads(sent_by(sync_mode, f"{name}/vendor/m", api_base=HOST, **given).content)
    assert body == {"model": "vendor/m", "query": QUERY, **sent}


@pytest.mark.parametrize("name", ["localai", "novita", "scaleway", "zeroentropy"])
def test_option_raises_if_the_row_has_none(name: str, mode: Mode) -> None:
    replay = answering({})
    with pytest.raises(BadRequestError, match="instruction"):
        mode.rerank(
            mode.reranker(f"{name}/m", api_base=HOST, http_client=replay.client(mode)),
            QUERY,
            DOCUMENTS,
            instruction="Find.",
        )
    assert replay.seen == []


def mixedbread(line: Line) -> None:
    """Answer as a server whose default `top_k` is 1."""
    texts = line.hit.json["input"]
    best = sorted(range(len(texts)), key=lambda index: -relevance(texts[index]))
    rows = [{"index": index, "score": relevance(texts[index]), "input": None} for index in best]
    line.answer(body={"data": rows[: line.hit.json.get("top_k", 1)], "usage": {"prompt_tokens": 4, "total_tokens": 5}})


@pytest.mark.parametrize(
    ("top_n", "asked"), [(None, [(2, 2), (2, 2), (1, 1)]), (1, [(2, 1), (2, 1), (1, 1)]), (4, [(2, 2), (2, 2), (1, 1)])]
)
def test_mixedbread_batches_always_send_top_k(
    top_n: int | None, asked: list[tuple[int, int]], serve: Callable[..., Loopback], mode: Mode
) -> None:
    server = serve(mixedbread)
    documents = [f"Passage {index}" for index in (3, 0, 4, 1, 2)]
    reranker = mode.reranker("mixedbread/m", api_base=server.url, batch_size=2)
    response = mode.rerank(reranker, QUERY, documents, top_n=top_n)
    assert sorted([(len(hit.json["input"]), hit.json["top_k"]) for hit in server.hits], reverse=True) == asked
    assert [each.index for each in response.results] == [1, 3, 4, 0, 2][:top_n]
    assert _numbers(response) == ({"total_tokens": 15}, {"input_tokens": 12})


# Answers


def _numbers(response: RerankResponse) -> tuple[dict[str, Any], dict[str, Any]]:
    found = dict(response.meta)
    return found.get("billed_units", {}), found.get("tokens", {})


STANDARD = [{"index": index, "relevance_score": 0.5} for index in range(3)]


@pytest.mark.parametrize(
    ("name", "more", "billed", "tokens"),
    [
        (
            "cohere_compatible",
            {"meta": {"billed_units": {"search_units": 2}, "tokens": {"input_tokens": 7, "output_tokens": 1}}},
            {"search_units": 2},
            {"input_tokens": 7, "output_tokens": 1},
        ),
        (
            "cohere_compatible",
            {"usage": {"prompt_tokens": 6, "total_tokens": 7}},
            {"total_tokens": 7},
            {"input_tokens": 6},
        ),
        (
            "cohere_compatible",
            {"meta": {"tokens": {"input_tokens": 7}}, "usage": {"prompt_tokens": 1, "total_tokens": 2}},
            {"total_tokens": 2},
            {"input_tokens": 7},
        ),
        ("cohere_compatible", {"meta": None, "usage": None}, {}, {}),
        ("jina_compatible", {"usage": {"total_tokens": 7}}, {"total_tokens": 7}, {"input_tokens": 7}),
        (
            "siliconflow",
            {"tokens": {"input_tokens": 7, "output_tokens": 0}},
            {},
            {"input_tokens": 7, "output_tokens": 0},
        ),
        ("siliconflow", {"meta": {"tokens": {"input_tokens": 7}}}, {}, {"input_tokens": 7}),
        (
            "siliconflow",
            {"tokens": {"input_tokens": 7}, "meta": {"tokens": {"input_tokens": 9, "output_tokens": 1}}},
            {},
            {"input_tokens": 7, "output_tokens": 1},
        ),
        ("siliconflow", {"tokens": None, "meta": {"tokens": None}}, {}, {}),
        ("xinference", {"meta": {"billed_units": None, "tokens": None, "warnings": None}}, {}, {}),
        ("xinference", {"meta": None}, {}, {}),
        (
            "xinference",
            {"meta": {"tokens": {"input_tokens": 7, "output_tokens": None}}},
            {},
            {"input_tokens": 7},
        ),
        ("openrouter", {"usage": {"search_units": 1, "cost": 0.002}}, {"search_units": 1}, {}),
        ("openrouter", {"usage": {"total_tokens": 7}}, {"total_tokens": 7}, {"input_tokens": 7}),
        ("openrouter", {"usage": {"search_units": None, "total_tokens": None}}, {}, {}),
        ("zeroentropy", {"total_tokens": 7, "total_bytes": 90}, {"total_tokens": 7}, {"input_tokens": 7}),
        (
            "novita",
            {"usage": {"prompt_tokens": 6, "completion_tokens": 1, "total_tokens": 7}},
            {"total_tokens": 7},
            {"input_tokens": 6},
        ),
        ("scaleway", {"usage": {"total_tokens": 7}}, {"total_tokens": 7}, {"input_tokens": 7}),
        ("contextual", {"usage": {"total_tokens": 7}}, {}, {}),
    ],
)
def test_usage_is_read(
    name: str, more: dict[str, Any], billed: dict[str, Any], tokens: dict[str, Any], mode: Mode
) -> None:
    replay = answering({"results": STANDARD, **more})
    response = mode.rerank(mode.reranker(f"{name}/m", api_base=HOST, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert _numbers(response) == (billed, tokens)


def test_usage_of_several_requests_is_summed(mode: Mode) -> None:
    pages = [
        {"results": STANDARD[:2], "usage": {"search_units": 1, "total_tokens": 10}},
        {"results": STANDARD[:1], "usage": {"search_units": 1, "total_tokens": 5}},
    ]
    replay = Replay([{"response": {"status": 200, "json": page}} for page in pages])
    reranker = mode.reranker("openrouter/m", http_client=replay.client(mode), batch_size=2, max_concurrency=1)
    response = mode.rerank(reranker, QUERY, DOCUMENTS)
    assert _numbers(response) == ({"search_units": 2, "total_tokens": 15}, {"input_tokens": 15})


@pytest.mark.parametrize("top_n", [None, 1, 2, 3])
def test_top_n_is_applied_to_the_list_of_sglang(top_n: int | None, mode: Mode) -> None:
    rows = [{"score": score, "document": "an echo", "index": index} for index, score in enumerate([0.25, 0.5, 0.125])]
    replay = answering(rows)
    reranker = mode.reranker("sglang/m", api_base=HOST, http_client=replay.client(mode))
    response = mode.rerank(reranker, QUERY, DOCUMENTS, top_n=top_n)
    assert [each.index for each in response.results] == [1, 0, 2][:top_n]
    assert [each.document for each in response.results] == [{"text": DOCUMENTS[index]} for index in (1, 0, 2)][:top_n]
    assert response.id.startswith("rerank-")


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        (name, "unit" if name in ("contextual", "isaacus", "mixedbread", "zeroentropy") else "unknown")
        for name in VARIABLES
    ],
)
def test_scale_is_unit_only_where_documented(name: str, scale: str) -> None:
    assert load(name).scale == scale


@pytest.mark.parametrize(
    "name", ["cohere_compatible", "hosted_vllm", "infinity", "litellm_proxy", "llama_cpp", "mixedbread"]
)
@pytest.mark.parametrize("end", ["rerank", "reranking", "rerankings", "reranks", "score", "invocations"])
def test_url_with_a_known_ending_is_the_endpoint(name: str, end: str, sync_mode: Mode) -> None:
    url = f"https://gw.example/api/v1/{end}"
    assert str(sent_by(sync_mode, f"{name}/m", api_base=f"{url}/").url) == url
