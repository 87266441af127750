"""Hugging Face: two services behind one prefix, and batches limited by the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, leaks, sent_by
from tests.support.loopback import Line, Loopback, relevance

from anyrerank import BadRequestError, RerankError
from anyrerank._core.engine import connect
from anyrerank._core.runtime import HttpRequest
from anyrerank._core.types import BilledUnits, Tokens
from anyrerank.providers import huggingface

MODEL = "huggingface/BAAI/bge-reranker-large"
TEI = "http://tei.example:8080"
MANY = [f"Passage {index * 37 % 70}" for index in range(70)]
BEST_FIRST = sorted(range(70), key=lambda index: index * 37 % 70)
LONG = "Ottawa is the capital. " * 40
Answer = Callable[[Line], None]


@pytest.fixture(autouse=True)
def _no_cached_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "server_limits", {})


def info(status: int = 200, body: Any = b"") -> Answer:
    return lambda line: line.answer(status, body)


def limit(most: Any) -> Answer:
    return info(body={"model_id": "BAAI/bge-reranker-large", "max_client_batch_size": most})


class Tei:
    """A server that takes `most` texts per request, each shorter than `long` characters."""

    def __init__(
        self, about: Answer | None = None, *, most: int = 100, long: int = 10**9, refusal: tuple[int, Any] = (422, "")
    ) -> None:
        self.about = about or info(404)
        self.most = most
        self.long = long
        self.refusal = refusal

    def __call__(self, line: Line) -> None:
        if line.hit.method == "GET":
            self.about(line)
            return
        texts = line.hit.json["texts"]
        if len(texts) > self.most or max(map(len, texts)) >= self.long:
            line.answer(*self.refusal)
            return
        rows = [{"index": index, "score": relevance(text)} for index, text in enumerate(texts)]
        line.answer(body=rows[::-1], headers={"x-compute-tokens": str(10 * len(texts))})


def asked(server: Loopback, method: str) -> list[Any]:
    return [hit for hit in server.hits if hit.method == method]


def sizes(server: Loopback) -> list[int]:
    return sorted((len(hit.json["texts"]) for hit in asked(server, "POST")), reverse=True)


def refused(mode: Mode, base: str, documents: list[str], **options: Any) -> RerankError:
    with pytest.raises(RerankError) as caught:
        mode.rerank(mode.reranker(MODEL, api_base=base, **options), QUERY, documents)
    return caught.value


# Text Embeddings Inference


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, True),
        ({"truncate": None}, True),
        ({"truncate": "END"}, True),
        ({"truncate": True}, True),
        ({"truncate": "NONE"}, False),
        ({"truncate": False}, False),
    ],
)
def test_truncate_is_always_sent(given: dict[str, Any], sent: bool, sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, api_base=TEI, **given).content)
    assert body == {"query": QUERY, "texts": DOCUMENTS, "truncate": sent}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("truncate", value) for value in ("START", "end", "none", "true", "", 2, ["END"], {"END": True})),
        *(("truncation_direction", value) for value in ("", "up", " left", "leftright", True, 1, ["Left"])),
    ],
)
def test_wrong_truncation_raises_before_sending(option: str, value: Any, mode: Mode) -> None:
    replay = Replay([])
    options = {"api_base": TEI, "http_client": replay.client(mode), option: value}
    with pytest.raises(BadRequestError, match=f"{option} must be"):
        mode.rerank(mode.reranker(MODEL, **options), QUERY, DOCUMENTS)
    assert replay.seen == []


@pytest.mark.parametrize(
    ("direction", "sent"),
    [("left", "Left"), ("LEFT", "Left"), ("Left", "Left"), ("right", "Right"), ("Right", "Right")],
)
def test_truncation_direction_is_capitalised(direction: str, sent: str, sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, api_base=TEI, truncation_direction=direction).content)
    assert body["truncation_direction"] == sent


@pytest.mark.parametrize(
    ("options", "scores"),
    [
        ({}, [0.75, 0.5, 0.25]),
        ({"raw_scores": False}, [0.75, 0.5, 0.25]),
        ({"raw_scores": True}, [0.679178699175393, 0.6224593312018546, 0.5621765008857981]),
    ],
)
def test_unit_scores_depend_on_raw_scores(options: dict[str, Any], scores: list[float], mode: Mode) -> None:
    rows = [{"index": index, "score": score} for index, score in enumerate([0.75, 0.5, 0.25])]
    replay = Replay([{"response": {"status": 200, "json": rows}}])
    reranker = mode.reranker(MODEL, api_base=TEI, http_client=replay.client(mode), score_mode="unit", **options)
    found = mode.rerank(reranker, QUERY, DOCUMENTS).results
    assert [each.relevance_score for each in found] == pytest.approx(scores, abs=1e-12)


@pytest.mark.parametrize(("status", "requests"), [(424, 1), (429, 3), (503, 3)])
def test_error_of_a_model_that_is_not_a_reranker_is_not_retried(
    status: int, requests: int, serve: Callable[..., Loopback], mode: Mode, waits: list[float]
) -> None:
    body = {"error": "Backend error: model is not a re-ranker model", "error_type": "Backend"}
    server = serve(lambda line: line.answer(status, body))
    error = refused(mode, server.url, DOCUMENTS, max_retries=2)
    assert (error.status_code, "not a re-ranker model" in error.message) == (status, True)
    assert (len(server.hits), len(waits)) == (requests, requests - 1)


# Its limit


@pytest.mark.parametrize(
    ("about", "batches"),
    [
        pytest.param(limit(64), [64, 6], id="64"),
        pytest.param(limit(1000), [70], id="1000"),
        pytest.param(limit(16), [16, 16, 16, 16, 6], id="16"),
        pytest.param(info(404), [32, 32, 6], id="404"),
        pytest.param(info(401), [32, 32, 6], id="401"),
        pytest.param(info(429), [32, 32, 6], id="429"),
        pytest.param(info(503, {"max_client_batch_size": 64}), [32, 32, 6], id="503"),
        pytest.param(info(307, {"max_client_batch_size": 64}), [32, 32, 6], id="redirect"),
        pytest.param(info(200, "<html>welcome</html>"), [32, 32, 6], id="html"),
        pytest.param(info(200, ""), [32, 32, 6], id="empty"),
        pytest.param(info(200, [64]), [32, 32, 6], id="list"),
        pytest.param(info(200, {"version": "1.9.3"}), [32, 32, 6], id="absent"),
        pytest.param(limit("64"), [32, 32, 6], id="text"),
        pytest.param(limit(True), [32, 32, 6], id="boolean"),
        pytest.param(limit(64.0), [32, 32, 6], id="float"),
        pytest.param(limit(0), [32, 32, 6], id="zero"),
        pytest.param(limit(-1), [32, 32, 6], id="negative"),
        pytest.param(Line.hang_up, [32, 32, 6], id="hangs up"),
        pytest.param(Line.reset, [32, 32, 6], id="reset"),
    ],
)
def test_documents_are_split_by_the_limit_of_the_server(
    about: Answer, batches: list[int], serve: Callable[..., Loopback], mode: Mode
) -> None:
    server = serve(Tei(about))
    response = mode.rerank(mode.reranker(MODEL, api_base=server.url), QUERY, MANY)
    assert sizes(server) == batches
    assert [each.index for each in response.results] == BEST_FIRST
    assert [each.relevance_score for each in response.results] == [1 / (1 + index) for index in range(70)]
    assert [each.document for each in response.results] == [{"text": f"Passage {index}"} for index in range(70)]
    assert (response.meta.billed_units, response.meta.tokens) == _used(700)
    questions = {(hit.target, hit.headers["authorization"], hit.body) for hit in asked(server, "GET")}
    assert questions == {("/info", f"Bearer {KEY}", b"")}


def _used(tokens: int) -> tuple[Any, Any]:
    return BilledUnits(total_tokens=tokens), Tokens(input_tokens=tokens)


@pytest.mark.parametrize(("count", "questions"), [(1, 0), (32, 0), (33, 1)])
def test_limit_is_fetched_only_for_more_than_32_documents(
    count: int, questions: int, serve: Callable[..., Loopback], sync_mode: Mode
) -> None:
    server = serve(Tei(limit(64)))
    sync_mode.rerank(sync_mode.reranker(MODEL, api_base=server.url), QUERY, MANY[:count])
    assert len(asked(server, "GET")) == questions
    assert sizes(server) == [count]


def test_limit_is_cached(serve: Callable[..., Loopback], mode: Mode) -> None:
    server = serve(Tei(limit(20)))
    reranker = mode.reranker(MODEL, api_base=server.url)
    for count in (70, 70, 25):
        response = mode.rerank(reranker, QUERY, MANY[:count])
        assert [each.index for each in response.results] == [index for index in BEST_FIRST if index < count]
    assert len(asked(server, "GET")) == 1
    assert sizes(server) == [20] * 7 + [10, 10, 5]


def test_request_for_the_limit_has_its_own_timeout() -> None:
    flow = connect(MODEL, api_base=TEI).fetch_max_documents(100, {})
    request = next(flow)
    assert isinstance(request, HttpRequest)
    assert (request.url, request.timeout) == (f"{TEI}/info", 5.0)


@pytest.mark.parametrize(("seconds", "second"), [(0.0, [70]), (60.0, [32, 32, 6])])
def test_failed_fetch_of_the_limit_is_cached_for_a_minute(
    seconds: float, second: list[int], serve: Callable[..., Loopback], mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "SECONDS_TO_NEXT_TRY", seconds)
    tei = Tei(info(503))
    server = serve(tei)
    reranker = mode.reranker(MODEL, api_base=server.url)
    mode.rerank(reranker, QUERY, MANY)
    tei.about = limit(70)
    mode.rerank(reranker, QUERY, MANY)
    assert sizes(server) == sorted([32, 32, 6, *second], reverse=True)


@pytest.mark.parametrize(("size", "batches"), [(20, [20, 20, 20, 10]), (70, [70])])
def test_batch_size_takes_precedence_over_the_limit(
    size: int, batches: list[int], serve: Callable[..., Loopback], mode: Mode
) -> None:
    server = serve(Tei(limit(64)))
    response = mode.rerank(mode.reranker(MODEL, api_base=server.url, batch_size=size), QUERY, MANY, top_n=3)
    assert sizes(server) == batches
    assert [each.index for each in response.results] == BEST_FIRST[:3]


@pytest.mark.parametrize(
    ("path", "about", "rerank"),
    [
        ("", "/info", "/rerank"),
        ("/", "/info", "/rerank"),
        ("/rerank", "/info", "/rerank"),
        ("/rerank//", "/info", "/rerank"),
        ("/a/b", "/a/b/info", "/a/b/rerank"),
        ("/a/rerank", "/a/info", "/a/rerank"),
        ("?tenant=7", "/info?tenant=7", "/rerank?tenant=7"),
        ("/a/?tenant=7", "/a/info?tenant=7", "/a/rerank?tenant=7"),
        ("/a/rerank?tenant=7", "/a/info?tenant=7", "/a/rerank?tenant=7"),
    ],
)
def test_info_url_is_next_to_the_endpoint(
    path: str, about: str, rerank: str, serve: Callable[..., Loopback], sync_mode: Mode
) -> None:
    server = serve(Tei(limit(70)))
    sync_mode.rerank(sync_mode.reranker(MODEL, api_base=server.url + path), QUERY, MANY)
    assert [(hit.method, hit.target) for hit in server.hits] == [("GET", about), ("POST", rerank)]


def test_headers_are_sent_with_both_requests(serve: Callable[..., Loopback], sync_mode: Mode) -> None:
    server = serve(Tei(limit(70)))
    headers = {"X-Team": "search"}
    sync_mode.rerank(sync_mode.reranker(MODEL, api_base=server.url, api_key=None, headers=headers), QUERY, MANY)
    assert [hit.headers["x-team"] for hit in server.hits] == ["search"] * 2
    assert not any("authorization" in hit.headers for hit in server.hits)


# Too large

TOO_MANY = {"error": "batch size 32 > maximum allowed batch size 10", "error_type": "Validation"}
TOO_LONG = {
    "error": "Input validation error: `inputs` must have less than 512 tokens. Given: 700",
    "error_type": "Validation",
}
TOO_MANY_LETTERS = {"error": "`inputs` must have less than 5120 characters. Given: 9000", "error_type": "Validation"}
TOO_MUCH = "Failed to buffer the request body: length limit exceeded"


@pytest.mark.parametrize("refusal", [(422, TOO_MANY), (413, TOO_MANY), (413, TOO_MUCH)], ids=["422", "413", "text"])
def test_too_many_texts_are_sent_in_halves(
    refusal: tuple[int, Any], serve: Callable[..., Loopback], mode: Mode
) -> None:
    server = serve(Tei(most=10, refusal=refusal))
    response = mode.rerank(mode.reranker(MODEL, api_base=server.url), QUERY, MANY)
    assert [each.index for each in response.results] == BEST_FIRST
    assert sizes(server) == [32, 32, *[16] * 4, *[8] * 8, 6]
    assert (response.meta.billed_units, response.meta.tokens) == _used(700)


@pytest.mark.parametrize(
    "refusal",
    [(422, TOO_LONG), (422, TOO_MANY_LETTERS), (413, TOO_LONG), (413, TOO_MUCH)],
    ids=["422 tokens", "422 characters", "413", "413 text"],
)
def test_error_for_a_long_text_names_its_index_in_the_call(
    refusal: tuple[int, Any], serve: Callable[..., Loopback], mode: Mode
) -> None:
    server = serve(Tei(long=500, refusal=refusal))
    documents = ["", *DOCUMENTS, " ", LONG, "Quito is the capital of Ecuador."]
    error = refused(mode, server.url, documents, truncate="NONE")
    assert type(error) is BadRequestError
    assert error.message.startswith("documents[5] is too large for the provider")
    assert error.status_code == refusal[0]
    assert sizes(server)[0] == 5
    assert sizes(server)[-1] == 1
    assert not leaks(error, [KEY, QUERY, LONG.strip(), *DOCUMENTS])


@pytest.mark.parametrize(
    "body",
    [
        {"error": "Tokenizer error: byte 3 is in no vocabulary", "error_type": "Tokenizer"},
        "Failed to deserialize the JSON body into the target type: query: invalid type",
    ],
    ids=["tokenizer", "text"],
)
def test_other_422_is_not_retried_with_smaller_batches(body: Any, serve: Callable[..., Loopback], mode: Mode) -> None:
    server = serve(lambda line: line.answer(422, body))
    error = refused(mode, server.url, DOCUMENTS)
    assert type(error) is BadRequestError
    assert "documents[" not in error.message
    assert len(server.hits) == 1


# The router


def test_limit_of_the_router_is_not_fetched(mode: Mode) -> None:
    rows = [{"index": index, "score": 1 / (2 + index)} for index in range(32)]
    answers = [{"response": {"status": 200, "json": rows[:size]}} for size in (32, 32, 6)]
    replay = Replay(answers)
    response = mode.rerank(mode.reranker(MODEL, http_client=replay.client(mode), max_concurrency=1), QUERY, MANY)
    assert [(each.method, each.url.path.split("/")[-2:]) for each in replay.seen] == [
        ("POST", ["pipeline", "text-ranking"])
    ] * 3
    assert [len(json.loads(each.content)["inputs"]["texts"]) for each in replay.seen] == [32, 32, 6]
    assert sorted(each.index for each in response.results) == list(range(70))


@pytest.mark.parametrize("option", ["truncate", "raw_scores", "truncation_direction"])
def test_extra_body_is_sent_to_the_router(option: str, sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, extra_body={"parameters": {option: True}}).content)
    assert body == {"inputs": {"query": QUERY, "texts": DOCUMENTS}, "parameters": {option: True}}


def test_model_name_is_sent_in_the_path_unchanged(sync_mode: Mode) -> None:
    url = str(sent_by(sync_mode, MODEL).url)
    assert url.endswith("/hf-inference/models/BAAI/bge-reranker-large/pipeline/text-ranking")
    assert json.loads(sent_by(sync_mode, MODEL, api_base=TEI).content).get("model") is None
