"""Cloudflare: the account in the path, and failures with status 200."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, answering, leaks, sent_by

from anyrerank import APIResponseValidationError, ConfigurationError

MODEL = "cloudflare/@cf/baai/bge-reranker-base"
HOST = "https://api.cloudflare.com/client/v4"
RUN = "accounts/acc-1/ai/run/@cf/baai/bge-reranker-base"
ROWS = [{"id": 1, "score": 0.5}, {"id": 0, "score": 0.25}, {"id": 2, "score": 0.125}]


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (None, f"{HOST}/{RUN}"),
        ("https://api.cloudflare.com", f"{HOST}/{RUN}"),
        ("https://api.cloudflare.com/", f"{HOST}/{RUN}"),
        (f"{HOST}/", f"{HOST}/{RUN}"),
        (f"{HOST}/{RUN}/", f"{HOST}/{RUN}"),
        ("https://gw.example/cf/client/v4", f"https://gw.example/cf/client/v4/{RUN}"),
        ("https://gw.example/cf?t=1", f"https://gw.example/cf/client/v4/{RUN}?t=1"),
        (f"{HOST}/accounts/acc-1/ai/run/", f"{HOST}/{RUN}"),
        (f"{HOST}/accounts/acc-1/ai/run", f"{HOST}/{RUN}"),
        (
            "https://gateway.ai.cloudflare.com/v1/acc-1/my-gateway/workers-ai",
            "https://gateway.ai.cloudflare.com/v1/acc-1/my-gateway/workers-ai/@cf/baai/bge-reranker-base",
        ),
    ],
)
def test_url_composition(base: str | None, url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base, account_id="acc-1").url) == url


@pytest.mark.parametrize("end", ["client/v4/accounts/acc-2/ai/run", "v1/acc-2/my-gateway/workers-ai/"])
def test_base_url_with_an_account_needs_no_account_id(end: str, sync_mode: Mode) -> None:
    sent = sent_by(sync_mode, MODEL, api_base=f"https://gw.example/{end}")
    assert str(sent.url) == f"https://gw.example/{end.rstrip('/')}/@cf/baai/bge-reranker-base"


@pytest.mark.parametrize(
    "base",
    [
        f"{HOST}/{RUN}",
        f"{HOST}/accounts/acc-2/ai/run/%40cf/baai/bge-reranker-base?t=1",
        f"{HOST}/accounts/acc-2/ai/run/@cf/of/tomorrow",
        "https://gateway.ai.cloudflare.com/v1/acc-1/my-gateway/workers-ai/@cf/baai/bge-reranker-base",
    ],
)
def test_full_url_is_used_unchanged_without_account_id(base: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base).url) == base
    path, _, query = base.partition("?")
    assert str(sent_by(sync_mode, MODEL, api_base=f"{path}/?{query}").url).rstrip("?") == base


@pytest.mark.parametrize(("given", "used"), [(None, "of-the-environment"), ("of-the-call", "of-the-call")])
def test_account_id_is_an_argument_or_in_the_environment(
    given: str | None, used: str, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "of-the-environment")
    request = sent_by(mode, MODEL, account_id=given)
    assert request.url.path == f"/client/v4/accounts/{used}/ai/run/@cf/baai/bge-reranker-base"


def test_missing_account_id_names_the_variable(mode: Mode) -> None:
    replay = Replay([])
    with pytest.raises(ConfigurationError) as caught:
        mode.rerank(mode.reranker(MODEL, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert all(word in caught.value.message for word in ("account_id", "CLOUDFLARE_ACCOUNT_ID"))
    assert replay.seen == []


@pytest.mark.parametrize(("documents", "top_n", "sent"), [(3, None, 3), (3, 2, 2), (3, 9, 3), (40, None, 40)])
def test_top_k_is_always_sent(documents: int, top_n: int | None, sent: int, sync_mode: Mode) -> None:
    texts = [f"city {index}" for index in range(documents)]
    body = json.loads(sent_by(sync_mode, MODEL, texts, account_id="acc-1", top_n=top_n).content)
    assert body == {"query": QUERY, "contexts": [{"text": text} for text in texts], "top_k": sent}


def failed(**more: Any) -> dict[str, Any]:
    return {"result": {"response": ROWS}, "success": True, "errors": [], "messages": [], **more}


@pytest.mark.parametrize(
    "body",
    [
        failed(success=False),
        failed(errors=[{"code": 5006, "message": "a context is missing"}]),
        failed(success=False, result=None, errors=[{"code": 5006, "message": "a context is missing"}]),
        failed(success=False, result={}),
        failed(result=None),
        failed(result={"response": None}),
        {"success": True, "errors": []},
    ],
)
def test_failure_with_status_200_raises_validation_error(body: Any, mode: Mode) -> None:
    replay = answering(body)
    reranker = mode.reranker(MODEL, account_id="acc-1", http_client=replay.client(mode))
    with pytest.raises(APIResponseValidationError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert caught.value.status_code == 200
    assert not leaks(caught.value, DOCUMENTS)


@pytest.mark.parametrize("rest", [{"success": True, "errors": []}, {"success": True}, {"errors": None}, {}])
def test_success_with_empty_errors_is_an_answer(rest: Any, mode: Mode) -> None:
    replay = answering({"result": {"response": ROWS}, **rest})
    reranker = mode.reranker(MODEL, account_id="acc-1", http_client=replay.client(mode))
    response = mode.rerank(reranker, QUERY, DOCUMENTS)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.5), (0, 0.25), (2, 0.125)]
