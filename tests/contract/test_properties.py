import asyncio
import copy
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anyrerank import APIResponseValidationError, Reranker, RerankResponse
from anyrerank._core.types import Document

COHERE, NIM = "cohere/rerank-v3.5", "nvidia_nim/nvidia/rerank-qa"
MODELS = st.sampled_from([COHERE, NIM])

TEXTS = st.one_of(
    st.sampled_from(["alpha", "beta", "gamma", "", "  ", "\n", "東京", "ключ", "🙂", "a\0b", '"quoted"', "\u3000"]),
    st.text(max_size=12),
)
DOCUMENTS: st.SearchStrategy[list[Document]] = st.lists(
    st.one_of(TEXTS, st.builds(lambda text, page: {"text": text, "page": page}, TEXTS, st.integers())),
    min_size=1,
    max_size=14,
).filter(lambda documents: any(text_of(document).strip() for document in documents))
TOP_N = st.none() | st.integers(1, 16)

few = settings(max_examples=60, deadline=None)
Answer = Callable[[httpx.Request], httpx.Response]
Rows = list[dict[str, Any]]


def text_of(document: Document) -> str:
    return document if isinstance(document, str) else str(document["text"])


def score_of(text: str) -> float:
    """One of a few values, so that there are ties."""
    return zlib.crc32(text.encode()) % 8 / 8


def rows_for(request: httpx.Request) -> Rows:
    """The rows of a correct provider: best first, equal scores in input order, at most `top_n`."""
    body = orjson.loads(request.content)
    if "passages" in body:
        texts, key = [passage["text"] for passage in body["passages"]], "logit"
    else:
        texts, key = body["documents"], "relevance_score"
    assert all(text.strip() for text in texts)
    rows = [{"index": index, key: score_of(text)} for index, text in enumerate(texts)]
    return sorted(rows, key=lambda row: -row[key])[: body.get("top_n")]


def answer(request: httpx.Request, change: Callable[[Rows], Any] = lambda rows: rows) -> httpx.Response:
    name = "rankings" if "nvidia" in request.url.host else "results"
    return httpx.Response(200, content=orjson.dumps({name: change(rows_for(request))}))


def reranker(model: str, answering: Answer = answer, **given: Any) -> Reranker:
    client = httpx.Client(transport=httpx.MockTransport(answering))
    return Reranker(model, api_key="key", api_base=None, http_client=client, **given)


def reranked_async(model: str, documents: list[Document], **given: Any) -> RerankResponse:
    async def ask() -> RerankResponse:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await Reranker(model, api_key="key", http_client=client, **given).arerank("q", documents)

    return asyncio.run(ask())


def expected(documents: list[Document], top_n: int | None) -> list[tuple[int, float | None]]:
    texts = [text_of(document) for document in documents]
    scored = [index for index, text in enumerate(texts) if text.strip()]
    best: list[tuple[int, float | None]] = [
        (index, score_of(texts[index])) for index in sorted(scored, key=lambda index: (-score_of(texts[index]), index))
    ]
    return [*best, *((index, None) for index, text in enumerate(texts) if not text.strip())][:top_n]


def pairs(response: RerankResponse) -> list[tuple[int, float | None]]:
    return [(result.index, result.relevance_score) for result in response.results]


@pytest.fixture(autouse=True)
def no_base_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COHERE_API_BASE", "CO_API_URL", "NVIDIA_NIM_API_BASE", "NVIDIA_BASE_URL", "NVIDIA_API_URL"):
        monkeypatch.delenv(name, raising=False)


@few
@given(MODELS, DOCUMENTS, TOP_N)
@example(COHERE, ["alpha", "", "alpha", {"text": "alpha"}, " "], 3)
def test_every_score_belongs_to_its_document(model: str, documents: list[Document], top_n: int | None) -> None:
    response = reranker(model).rerank("q", documents, top_n=top_n)
    assert pairs(response) == expected(documents, top_n)
    for result in response.results:
        document = documents[result.index]
        assert result.document == ({"text": document} if isinstance(document, str) else document)
        assert result.relevance_score is None or type(result.relevance_score) is float


@few
@given(MODELS, DOCUMENTS, TOP_N, st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(
    model: str, documents: list[Document], top_n: int | None, random: Any
) -> None:
    def shuffled(rows: Rows) -> Rows:
        random.shuffle(rows)
        return rows

    response = reranker(model, lambda request: answer(request, shuffled)).rerank("q", documents, top_n=top_n)
    assert pairs(response) == expected(documents, top_n)


@few
@given(MODELS, DOCUMENTS, st.dictionaries(st.text(max_size=5), st.integers(-9, 9) | st.text(max_size=5), max_size=3))
def test_unknown_fields_do_not_matter(model: str, documents: list[Document], more: dict[str, Any]) -> None:
    def decorated(rows: Rows) -> Rows:
        return [{**more, "document": {"text": "wrong"}, **row} for row in rows]

    response = reranker(model, lambda request: answer(request, decorated)).rerank("q", documents)
    assert pairs(response) == expected(documents, None)


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=4),
    st.sampled_from(["0", "1.0", [], {}, [0], {"index": 0}, "NaN"]),
)
WRONG_INDEX = st.one_of(JUNK, st.integers(max_value=-1, min_value=-(2**40)), st.integers(14, 2**40), st.floats(0, 3))
WRONG_SCORE = st.one_of(JUNK, st.just("0.5"))


@st.composite
def corruptions(draw: st.DrawFn) -> Callable[[Rows], Any]:
    """A change that makes any answer unusable."""
    at = draw(st.integers(0, 13))
    kind = draw(st.sampled_from(["missing", "repeated", "index", "score", "no index", "no score", "row", "all"]))
    index, score, junk = draw(WRONG_INDEX), draw(WRONG_SCORE), draw(JUNK)

    def corrupt(rows: Rows) -> Any:
        position = at % len(rows)
        key = next(name for name in rows[position] if name != "index")
        row: Any = {
            "repeated": rows[position - 1] if len(rows) > 1 else None,
            "index": {**rows[position], "index": index},
            "score": {**rows[position], key: score},
            "no index": {key: rows[position][key]},
            "no score": {"index": rows[position]["index"]},
            "row": junk,
        }.get(kind)
        if kind == "all":
            return junk
        return (
            rows[:position] + rows[position + 1 :]
            if kind == "missing"
            else [*rows[:position], row, *rows[position + 1 :]]
        )

    return corrupt


@settings(max_examples=150, deadline=None)
@given(MODELS, DOCUMENTS, corruptions(), st.sampled_from([None, 2, 5]))
def test_corrupt_answer_is_never_used(
    model: str, documents: list[Document], corrupt: Callable[[Rows], Any], batch_size: int | None
) -> None:
    receiver = reranker(model, lambda request: answer(request, corrupt), batch_size=batch_size, max_concurrency=1)
    with pytest.raises(APIResponseValidationError):
        receiver.rerank("q", documents)


@settings(max_examples=120, deadline=None)
@given(MODELS, DOCUMENTS, TOP_N, st.integers(0, 400), st.binary(max_size=3))
def test_truncated_answer_is_an_error_or_correct(
    model: str, documents: list[Document], top_n: int | None, cut: int, tail: bytes
) -> None:
    def damaged(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=answer(request).content[:cut] + tail)

    try:
        response = reranker(model, damaged).rerank("q", documents, top_n=top_n)
    except APIResponseValidationError:
        return
    assert pairs(response) == expected(documents, top_n)


@few
@given(MODELS, st.binary(max_size=60) | st.recursive(JUNK, lambda inner: st.lists(inner, max_size=3)).map(orjson.dumps))
def test_other_answer_is_an_error(model: str, content: bytes) -> None:
    with pytest.raises(APIResponseValidationError):
        reranker(model, lambda request: httpx.Response(200, content=content)).rerank("q", ["alpha", "beta"])


@few
@given(MODELS, DOCUMENTS, TOP_N, st.integers(1, 16), st.integers(1, 4))
def test_batches_give_the_results_of_one_request(
    model: str, documents: list[Document], top_n: int | None, batch_size: int, concurrency: int
) -> None:
    batched = reranker(model, batch_size=batch_size, max_concurrency=concurrency)
    assert pairs(batched.rerank("q", documents, top_n=top_n)) == expected(documents, top_n)


@few
@given(MODELS, DOCUMENTS, TOP_N, st.integers(1, 5))
def test_halves_give_the_results_of_one_request(
    model: str, documents: list[Document], top_n: int | None, fitting: int
) -> None:
    def small(request: httpx.Request) -> httpx.Response:
        body = orjson.loads(request.content)
        if len(body.get("documents") or body.get("passages")) > fitting:
            return httpx.Response(413, json={"message": "payload too large"})
        return answer(request)

    assert pairs(reranker(model, small).rerank("q", documents, top_n=top_n)) == expected(documents, top_n)


@few
@given(MODELS, DOCUMENTS, TOP_N, st.none() | st.integers(1, 5))
def test_dedupe_changes_only_what_is_sent(
    model: str, documents: list[Document], top_n: int | None, batch_size: int | None
) -> None:
    sent: list[str] = []

    def noting(request: httpx.Request) -> httpx.Response:
        body = orjson.loads(request.content)
        sent.extend(body.get("documents") or [passage["text"] for passage in body["passages"]])
        return answer(request)

    merged = reranker(model, noting, dedupe=True, batch_size=batch_size).rerank("q", documents, top_n=top_n)
    assert pairs(merged) == expected(documents, top_n)
    assert sorted(sent) == sorted({text_of(document) for document in documents if text_of(document).strip()})


@settings(max_examples=30, deadline=None)
@given(MODELS, DOCUMENTS, TOP_N, st.none() | st.integers(1, 6), st.booleans())
def test_sync_and_async_give_the_same_results(
    model: str, documents: list[Document], top_n: int | None, batch_size: int | None, dedupe: bool
) -> None:
    options: dict[str, Any] = {"top_n": top_n, "batch_size": batch_size, "dedupe": dedupe}
    synchronous = reranker(model, **options).rerank("q", documents)
    asynchronous = reranked_async(model, documents, **options)
    assert asynchronous.results == synchronous.results
    assert len(asynchronous.attempts) == len(synchronous.attempts)


@few
@given(MODELS, DOCUMENTS, TOP_N, st.floats(-1, 2), st.sampled_from(["raw", "unit"]))
def test_threshold_keeps_the_scores_that_reach_it(
    model: str, documents: list[Document], top_n: int | None, threshold: float, mode: Any
) -> None:
    everything = reranker(model, score_mode=mode).rerank("q", documents)
    filtered = reranker(model, score_mode=mode).rerank("q", documents, top_n=top_n, score_threshold=threshold)
    reached = [pair for pair in pairs(everything) if pair[1] is not None and pair[1] >= threshold]
    assert pairs(filtered) == reached[:top_n]
    assert all(score is None or mode == "raw" or 0.0 <= score <= 1.0 for _, score in pairs(everything))


@few
@given(MODELS, DOCUMENTS, TOP_N, st.booleans())
def test_documents_are_neither_changed_nor_copied(
    model: str, documents: list[Document], top_n: int | None, dedupe: bool
) -> None:
    before, same = copy.deepcopy(documents), list(documents)
    response = reranker(model, dedupe=dedupe, batch_size=3).rerank("q", documents, top_n=top_n)
    assert documents == before
    assert all(now is then for now, then in zip(documents, same, strict=True))
    for result in response.results:
        document = documents[result.index]
        assert isinstance(document, str) or result.document is document
