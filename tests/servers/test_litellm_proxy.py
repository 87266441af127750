"""A real LiteLLM proxy in front of Infinity, or of a stub server that records what the proxy sends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anyrerank import (
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    Reranker,
    RerankError,
)
from tests.servers.conftest import Server
from tests.servers.truth import CLOSE, QUERIES, TEXTS, Truth, order
from tests.support.frameworks import FACES, Face
from tests.support.harness import QUERY, Mode, leaks
from tests.support.loopback import Line, Loopback

BASES = [
    ("litellm_proxy", ""),
    ("litellm_proxy", "/"),
    ("litellm_proxy", "/rerank"),
    ("litellm_proxy", "/v1"),
    ("litellm_proxy", "/v2"),
    ("litellm_proxy", "/v2/rerank"),
    ("cohere_compatible", ""),
    ("cohere_compatible", "/v2/rerank"),
]


def through(proxy: Server, mode: Mode, model: str = "our-reranker", **options: object) -> Reranker:
    return mode.reranker(f"litellm_proxy/{model}", **{"api_base": proxy.url, "api_key": proxy.key, **options})


def answering(status: int, body: object) -> Callable[[Line], None]:
    def answer(line: Line) -> None:
        line.answer(status, body, headers={"connection": "close"})
        line.hang_up()

    return answer


@pytest.mark.parametrize(("prefix", "path"), BASES)
def test_results_are_those_of_the_server_behind(
    prefix: str, path: str, mode: Mode, proxy: Server, infinity: Server
) -> None:
    direct = mode.reranker("infinity/tiny", api_base=infinity.url, api_key=infinity.key)
    proxied = mode.reranker(f"{prefix}/our-reranker", api_base=f"{proxy.url}{path}", api_key=proxy.key)
    expected, response = (mode.rerank(each, QUERIES[0], TEXTS) for each in (direct, proxied))
    assert [result.index for result in response.results] == [result.index for result in expected.results]
    assert [result.document for result in response.results] == [result.document for result in expected.results]
    assert [result.relevance_score for result in response.results] == pytest.approx(
        [result.relevance_score for result in expected.results], abs=CLOSE
    )
    assert response.meta.billed_units == expected.meta.billed_units


def test_top_n_is_applied_across_batches(mode: Mode, proxy: Server, truth: Truth) -> None:
    response = mode.rerank(through(proxy, mode), QUERIES[0], TEXTS, top_n=3, batch_size=2)
    assert [result.index for result in response.results] == order(truth.unit[0])[:3]
    assert [attempt.status for attempt in response.attempts] == [200] * 5


def test_call_id_of_the_proxy_is_the_request_id(mode: Mode, proxy: Server) -> None:
    ids = {mode.rerank(through(proxy, mode), QUERIES[0], TEXTS).request_id for _ in range(2)}
    assert len(ids) == 2
    assert None not in ids
    named = through(proxy, mode, headers={"x-litellm-call-id": "call-of-this-test"})
    assert mode.rerank(named, QUERIES[0], TEXTS).request_id == "call-of-this-test"


def test_missing_key_raises_and_sends_no_other_key(mode: Mode, proxy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", proxy.key)
    with pytest.raises(AuthenticationError, match="No api key passed in") as caught:
        mode.rerank(through(proxy, mode, api_key=None), QUERIES[0], TEXTS)
    assert caught.value.status_code == 401


def test_wrong_key_raises_without_showing_it(mode: Mode, proxy: Server) -> None:
    """The proxy looks it up in a database, which this one does not have."""
    with pytest.raises(RerankError, match="No connected db") as caught:
        mode.rerank(through(proxy, mode, api_key="sk-of-somebody-else"), QUERIES[0], TEXTS)
    assert caught.value.status_code == 400
    assert leaks(caught.value, ["sk-of-somebody-else"]) == []


def test_unknown_model_raises_bad_request(mode: Mode, proxy: Server) -> None:
    with pytest.raises(BadRequestError, match="Invalid model name passed in model=nobody") as caught:
        mode.rerank(through(proxy, mode, "nobody"), QUERIES[0], TEXTS)
    assert caught.value.status_code == 400
    assert caught.value.request_id


def test_wrong_key_in_the_proxy_raises_authentication_error(mode: Mode, proxy: Server) -> None:
    with pytest.raises(AuthenticationError, match="InfinityException") as caught:
        mode.rerank(through(proxy, mode, "locked-out"), QUERIES[0], TEXTS)
    assert caught.value.status_code == 401


def test_unknown_path_raises_not_found(mode: Mode, proxy: Server) -> None:
    with pytest.raises(NotFoundError):
        mode.rerank(through(proxy, mode, api_base=f"{proxy.url}/elsewhere"), QUERIES[0], TEXTS)


def test_request_is_forwarded_to_the_server_behind(mode: Mode, proxy: Server, behind: Loopback) -> None:
    documents = [{"title": "Lisbon", "text": "document 2"}, {"title": "Ottawa", "text": "document 1"}]
    response = mode.rerank(
        through(proxy, mode, "like-cohere"), QUERY, documents, rank_fields=["title", "text"], top_n=1
    )
    assert [(result.index, result.document) for result in response.results] == [(1, documents[1])]
    assert response.meta == {"billed_units": {"search_units": 1}}
    (hit,) = behind.hits
    assert hit.headers["authorization"] == "Bearer key-behind-the-proxy"
    assert hit.json == {
        "model": "rerank-v3.5",
        "query": QUERY,
        "documents": documents,
        "rank_fields": ["title", "text"],
        "return_documents": False,
        "top_n": 1,
    }


def test_error_that_quotes_documents_is_withheld(mode: Mode, proxy: Server) -> None:
    """Infinity takes no mappings, and the proxy forwards its whole message."""
    documents = [{"text": "Winnipeg is a secret", "owner": "somebody@example.com"}, "Halifax is one, too"]
    with pytest.raises(BadRequestError, match="withheld") as caught:
        mode.rerank(through(proxy, mode), QUERY, documents, rank_fields=["text"])
    assert caught.value.status_code == 422
    assert leaks(caught.value, ["Winnipeg", "somebody", "Halifax", QUERY, proxy.key]) == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (429, RateLimitError),
        (500, InternalServerError),
        (503, InternalServerError),
    ],
)
def test_error_behind_the_proxy_keeps_its_class(
    status: int, kind: type[RerankError], mode: Mode, proxy: Server, behind: Loopback
) -> None:
    behind.script = answering(status, {"message": "refused by the test"})
    with pytest.raises(kind, match="refused by the test") as caught:
        mode.rerank(through(proxy, mode, "like-cohere"), QUERY, ["document 1", "document 2"])
    assert (type(caught.value), caught.value.status_code) == (kind, status)
    assert caught.value.request_id
    assert len(behind.hits) == 1


@pytest.mark.parametrize("model", ["like-nvidia", "like-deepinfra"])
def test_error_with_status_200_raises_validation_error(model: str, mode: Mode, proxy: Server, behind: Loopback) -> None:
    behind.script = answering(200, "<html>not what was asked for</html>")
    with pytest.raises(APIResponseValidationError) as caught:
        mode.rerank(through(proxy, mode, model), QUERY, ["document 1", "document 2"])
    assert caught.value.status_code == 200
    assert len(behind.hits) == 1


@pytest.mark.parametrize("face", FACES, ids=str)
def test_framework_adapter_ranks_like_the_model(face: Face, proxy: Server, truth: Truth) -> None:
    adapter = face.make(model="litellm_proxy/our-reranker", api_base=proxy.url, api_key=proxy.key, top_n=4)
    ranked = face.ranked(adapter, TEXTS, QUERIES[0])
    indexes = order(truth.unit[0])[:4]
    assert [text for text, _ in ranked] == [TEXTS[index] for index in indexes]
    assert [score for _, score in ranked] == pytest.approx([truth.unit[0][index] for index in indexes], abs=CLOSE)
