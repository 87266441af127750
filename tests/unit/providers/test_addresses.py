"""Addresses as people copy them: base URLs, parts of paths, and full URLs, which are used as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import KEY, Mode, sent_by
from tests.unit.providers.bedrock.signed import ARN, PAIR

from anyrerank.testing import Exchange, StubServer

HOST = "https://gw.example"
CLOUDFLARE = "@cf/baai/bge-reranker-base"
VERTEX = "projects/p/locations/global/rankingConfigs/default_ranking_config:rank"
OPTIONS: dict[str, dict[str, Any]] = {
    f"cloudflare/{CLOUDFLARE}": {"account_id": "a"},
    "vertex_ai/m": {"vertex_project": "p"},
    "watsonx/m": {"project_id": "p", "token": "t"},
    "bedrock/amazon.rerank-v1:0": {"aws_region_name": "us-west-2"},
}


@pytest.mark.parametrize(
    ("model", "base", "path"),
    [
        ("bedrock/amazon.rerank-v1:0", "/model/amazon.rerank-v1:0/invoke", None),
        ("bedrock/amazon.rerank-v1:0", "/model/other/invoke", None),
        (f"cloudflare/{CLOUDFLARE}", "/client/v4/accounts/b", f"/client/v4/accounts/b/ai/run/{CLOUDFLARE}"),
        (f"cloudflare/{CLOUDFLARE}", "/client/v4/accounts/b/ai", f"/client/v4/accounts/b/ai/run/{CLOUDFLARE}"),
        (f"cloudflare/{CLOUDFLARE}", "/client", f"/client/v4/accounts/a/ai/run/{CLOUDFLARE}"),
        ("elasticsearch/m", "/_inference/rerank/other", None),
        ("elasticsearch/m", "/_inference/other?timeout=30s", None),
        ("elasticsearch/m", "/_inference", "/_inference/rerank/m"),
        ("vertex_ai/m", "/v1alpha", f"/v1alpha/{VERTEX}"),
        ("vertex_ai/m", "/v1/projects/p/locations/global", f"/v1/{VERTEX}"),
        ("vertex_ai/m", f"/v1beta/{VERTEX.removesuffix(':rank')}", f"/v1beta/{VERTEX}"),
        ("vertex_ai/m", "/v1/projects/q/locations/eu/rankingConfigs/c:rank", None),
        ("watsonx/m", "/ml/v1/text/rerank?version=2025-01-01", None),
        ("watsonx/m", "/ml/v1?version=2025-01-01", "/ml/v1/text/rerank?version=2025-01-01"),
        ("watsonx/m", "/x/ml?version=2025-01-01", "/x/ml/v1/text/rerank?version=2025-01-01"),
        ("deepinfra/m", "/v1/inference/other", None),
        ("novita/m", "/openai", "/openai/v1/rerank"),
        ("fireworks_ai/m", "/inference", "/inference/v1/rerank"),
        ("zeroentropy/m", "/v1/models", "/v1/models/rerank"),
        ("cohere_compatible/m", "/v1beta1", "/v1beta1/rerank"),
        ("cohere_compatible/m", "/v1.0", "/v1.0/rerank"),
        ("cohere_compatible/m", "/v1/chat/completions", "/v1/rerank"),
        ("hosted_vllm/m", "/v1/embeddings?a=b", "/v1/rerank?a=b"),
        ("hosted_vllm/m", "/reranker", "/reranker/v1/rerank"),
        ("nvidia_nim/ranking/m", "/v1/chat/completions", "/v1/ranking"),
        ("jina_compatible/m", "/v2/models/ensemble/infer", None),
        ("dashscope/qwen3-rerank", "/v1/ranking", None),
    ],
)
def test_address_leads_to_one_route(model: str, base: str, path: str | None, sync_mode: Mode) -> None:
    request = sent_by(sync_mode, model, api_base=f"{HOST}{base}", **OPTIONS.get(model, {}))
    assert str(request.url) == f"{HOST}{path or base}"


def test_routers_full_url_of_hugging_face_is_used(sync_mode: Mode) -> None:
    url = "https://router.huggingface.co/hf-inference/models/of/mine/pipeline/text-ranking"
    assert str(sent_by(sync_mode, "huggingface/m", api_base=url).url) == url


@pytest.mark.parametrize(
    ("path", "credentials", "key"),
    [
        ("/aws/rerank", {"api_key": KEY}, "sources"),
        ("/model/m/invoke", {"api_key": None, **PAIR}, "documents"),
    ],
)
def test_full_url_of_bedrock_decides_the_operation(
    path: str, credentials: dict[str, Any], key: str, sync_mode: Mode
) -> None:
    request = sent_by(sync_mode, f"bedrock/{ARN}", api_base=f"{HOST}{path}", **credentials)
    assert str(request.url) == f"{HOST}{path}"
    assert key in json.loads(request.content)


@pytest.mark.parametrize("path", ["/invocations", "/mine#"])
def test_server_at_a_full_url_is_not_asked_for_its_limit_elsewhere(path: str, mode: Mode) -> None:
    def handler(exchange: Exchange) -> None:
        texts = (exchange.request.json or {}).get("texts", ())
        exchange.respond(200, [{"index": index, "score": 0.5} for index in range(len(texts))])

    with StubServer(handler=handler) as server:
        mode.rerank(mode.reranker("huggingface/m", api_base=server.url + path), "q", ["a"] * 40)
    assert {(request.method, request.target) for request in server.requests} == {("POST", path.rstrip("#"))}
