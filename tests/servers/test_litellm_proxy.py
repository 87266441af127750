"""LiteLLM's real proxy, with Infinity behind it, or a server of ours that shows what the proxy sends on."""

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
def test_ranks_like_the_server_behind_it(prefix: str, path: str, mode: Mode, proxy: Server, infinity: Server) -> None:
    direct = mode.reranker("infinity/tiny", api_base=infinity.url, api_key=infinity.key)
    proxied = mode.reranker(f"{prefix}/our-reranker", api_base=f"{proxy.url}{path}", api_key=proxy.key)
    expected, response = (mode.rerank(each, QUERIES[0], TEXTS) for each in (direct, proxied))
    assert [result.index for result in response.results] == [result.index for result in expected.results]
    assert [result.document for result in response.results] == [result.document for result in expected.results]
    assert [result.relevance_score for result in response.results] == pytest.approx(
        [result.relevance_score for result in expected.results], abs=CLOSE
    )
    assert response.meta.billed_units == expected.meta.billed_units


def test_top_n_and_batches(mode: Mode, proxy: Server, truth: Truth) -> None:
    response = mode.rerank(through(proxy, mode), QUERIES[0], TEXTS, top_n=3, batch_size=2)
    assert [result.index for result in response.results] == order(truth.unit[0])[:3]
    assert [attempt.status for attempt in response.attempts] == [200] * 5


def test_the_proxys_id_of_the_call_is_the_request_id(mode: Mode, proxy: Server) -> None:
    ids = {mode.rerank(through(proxy, mode), QUERIES[0], TEXTS).request_id for _ in range(2)}
    assert len(ids) == 2
    assert None not in ids
    named = through(proxy, mode, headers={"x-litellm-call-id": "call-of-this-test"})
    assert mode.rerank(named, QUERIES[0], TEXTS).request_id == "call-of-this-test"


def test_no_key_is_refused_and_no_other_one_sent(mode: Mode, proxy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", proxy.key)
    with pytest.raises(AuthenticationError, match="No api key passed in") as caught:
        mode.rerank(through(proxy, mode, api_key=None), QUERIES[0], TEXTS)
    assert caught.value.status_code == 401


def test_a_wrong_key_is_refused_and_not_shown(mode: Mode, proxy: Server) -> None:
    """The proxy looks for it in a database, which this one does not have."""
    with pytest.raises(RerankError, match="No connected db") as caught:
        mode.rerank(through(proxy, mode, api_key="sk-of-somebody-else"), QUERIES[0], TEXTS)
    assert caught.value.status_code == 400
    assert leaks(caught.value, ["sk-of-somebody-else"]) == []


def test_an_unknown_model_is_a_bad_request(mode: Mode, proxy: Server) -> None:
    with pytest.raises(BadRequestError, match="Invalid model name passed in model=nobody") as caught:
        mode.rerank(through(proxy, mode, "nobody"), QUERIES[0], TEXTS)
    assert caught.value.status_code == 400
    assert caught.value.request_id


def test_a_key_that_the_proxy_has_wrong_is_an_authentication_error(mode: Mode, proxy: Server) -> None:
    with pytest.raises(AuthenticationError, match="InfinityException") as caught:
        mode.rerank(through(proxy, mode, "locked-out"), QUERIES[0], TEXTS)
    assert caught.value.status_code == 401


def test_an_unknown_path_is_not_found(mode: Mode, proxy: Server) -> None:
    with pytest.raises(NotFoundError):
        mode.rerank(through(proxy, mode, api_base=f"{proxy.url}/elsewhere"), QUERIES[0], TEXTS)


def test_what_the_server_behind_it_is_sent(mode: Mode, proxy: Server, behind: Loopback) -> None:
    documents = [{"title": "Lisbon", "text": "document 2"}, {"title": "Ottawa", "text": "document 1"}]
    response = mode.rerank(
        through(proxy, mode, "like-cohere"), QUERY, documents, rank_fields=["title", "text"], top_n=1
    )
    assert [(result.index, result.document) for result in response.results] == [(1, documents[1])]
    assert response.meta.model_dump(exclude_defaults=True) == {"billed_units": {"search_units": 1}}
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


def test_a_refusal_that_quotes_documents_shows_none(mode: Mode, proxy: Server) -> None:
    """Infinity takes no mappings, and the proxy hands on all that it says."""
    documents = [{"text": "Winnipeg is a secret", "owner": "somebody@example.com"}, "Halifax is one, too"]
    with pytest.raises(BadRequestError, match="Input should be a valid string") as caught:
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
def test_the_class_of_an_error_behind_it(
    status: int, kind: type[RerankError], mode: Mode, proxy: Server, behind: Loopback
) -> None:
    behind.script = answering(status, {"message": "refused by the test"})
    with pytest.raises(kind, match="refused by the test") as caught:
        mode.rerank(through(proxy, mode, "like-cohere"), QUERY, ["document 1", "document 2"])
    assert (type(caught.value), caught.value.status_code) == (kind, status)
    assert caught.value.request_id
    assert len(behind.hits) == 1


@pytest.mark.parametrize("model", ["like-nvidia", "like-deepinfra"])
def test_an_error_that_the_proxy_answers_with_200_is_one(
    model: str, mode: Mode, proxy: Server, behind: Loopback
) -> None:
    behind.script = answering(200, "<html>not what was asked for</html>")
    with pytest.raises(APIResponseValidationError) as caught:
        mode.rerank(through(proxy, mode, model), QUERY, ["document 1", "document 2"])
    assert caught.value.status_code == 200
    assert len(behind.hits) == 1


@pytest.mark.parametrize("face", FACES, ids=str)
def test_frameworks(face: Face, proxy: Server, truth: Truth) -> None:
    adapter = face.make(model="litellm_proxy/our-reranker", api_base=proxy.url, api_key=proxy.key, top_n=4)
    ranked = face.ranked(adapter, TEXTS, QUERIES[0])
    places = order(truth.unit[0])[:4]
    assert [text for text, _ in ranked] == [TEXTS[place] for place in places]
    assert [score for _, score in ranked] == pytest.approx([truth.unit[0][place] for place in places], abs=CLOSE)
