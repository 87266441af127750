"""Voyage AI: token limits, two hosts, a key in a file, and its own names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, answering, sent_by
from tests.support.loopback import Line, Loopback, ranking

from anyrerank import AuthenticationError, BadRequestError
from anyrerank._core.engine import connect
from anyrerank._core.types import RerankRequest

MODEL = "voyage/rerank-2.5"
VOYAGE = "https://api.voyageai.com/v1/rerank"
ATLAS = "https://ai.mongodb.com/v1/rerank"
NUMBERED = [f"document {number}" for number in (4, 2, 0, 3, 1)]
BEST_FIRST = [2, 4, 1, 3, 0]


def voyage(line: Line) -> None:
    answer = ranking(line.hit.documents, line.hit.json.get("top_k"))
    line.answer(body={"object": "list", "data": answer["results"], "usage": {"total_tokens": len(line.hit.documents)}})


def test_top_n_is_sent_as_top_k(sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, top_n=2, return_documents=True).content)
    assert body == {"model": "rerank-2.5", "query": QUERY, "documents": DOCUMENTS, "top_k": 2}


@pytest.mark.parametrize(
    ("truncate", "truncation"), [("NONE", False), ("END", True), (False, False), (True, True), (None, None)]
)
def test_truncate_is_sent_as_a_boolean(truncate: str | bool | None, truncation: bool | None, sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, truncate=truncate).content)
    assert body.get("truncation") is truncation
    assert "truncate" not in body


@pytest.mark.parametrize("truncate", ["START", "end", "", 1, ["END"]])
def test_wrong_truncate_raises_before_sending(truncate: Any, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="truncate must be") as caught:
        sent_by(mode, MODEL, truncate=truncate)
    assert caught.value.status_code is None


@pytest.mark.parametrize(
    ("key", "base", "url"),
    [
        ("pa-1", None, VOYAGE),
        ("al-1", None, ATLAS),
        ("AL-1", None, VOYAGE),
        ("pa-al-1", None, VOYAGE),
        ("al-1", "https://gw.example/foo/rerank", "https://gw.example/foo/rerank"),
        ("al-1", "https://api.voyageai.com/v1/", VOYAGE),
        ("pa-1", "https://ai.mongodb.com", ATLAS),
    ],
)
def test_atlas_key_is_sent_to_atlas_unless_a_base_url_is_given(
    key: str, base: str | None, url: str, mode: Mode
) -> None:
    request = sent_by(mode, MODEL, api_key=key, api_base=base)
    assert str(request.url) == url
    assert request.headers["authorization"] == f"Bearer {key}"


@pytest.mark.parametrize(
    ("content", "options", "environment", "key", "url"),
    [
        ("pa-file\n", {}, {}, "pa-file", VOYAGE),
        ("  al-file\r\n", {}, {}, "al-file", ATLAS),
        ("pa-file", {}, {"VOYAGE_AI_TOKEN": "pa-variable"}, "pa-variable", VOYAGE),
        ("pa-file", {"api_key": "pa-argument"}, {}, "pa-argument", VOYAGE),
        (None, {"api_key": "pa-argument"}, {}, "pa-argument", VOYAGE),
    ],
)
def test_key_is_read_from_a_file(
    *,
    content: str | None,
    options: dict[str, Any],
    environment: dict[str, str],
    key: str,
    url: str,
    mode: Mode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    for variable, value in {"VOYAGE_API_KEY_PATH": str(path), **environment}.items():
        monkeypatch.setenv(variable, value)
    request = sent_by(mode, MODEL, **{"api_key": None, **options})
    assert request.headers["authorization"] == f"Bearer {key}"
    assert str(request.url) == url


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe", b"pa-1\npa-2"])
def test_file_without_a_usable_key_raises_before_sending(
    content: bytes | None, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("VOYAGE_API_KEY_PATH", str(path))
    with pytest.raises(AuthenticationError) as caught:
        sent_by(mode, MODEL, api_key=None)
    assert caught.value.status_code is None
    assert caught.value.provider == "voyage"
    assert "pa-1" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_error_names_the_variable_of_the_file(
    content: bytes | None, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("VOYAGE_API_KEY_PATH", str(path))
    with pytest.raises(AuthenticationError, match="VOYAGE_API_KEY_PATH"):
        sent_by(mode, MODEL, api_key=None)


def test_error_for_a_key_in_a_file_names_the_variable(
    mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    path.write_text("pa-file-key")
    monkeypatch.setenv("VOYAGE_API_KEY_PATH", str(path))
    replay = answering({"detail": "Provided API key is invalid: pa-file-key"}, 401)
    with pytest.raises(AuthenticationError, match=r"\(the key came from VOYAGE_API_KEY_PATH\)") as caught:
        mode.rerank(mode.reranker(MODEL, api_key=None, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert "pa-file-key" not in str(caught.value)


def test_request_id_is_not_the_response_id(mode: Mode) -> None:
    replay = answering({"data": [{"index": 0, "relevance_score": 0.5}]}, headers={"request-id": "req-1"})
    response = mode.rerank(mode.reranker(MODEL, http_client=replay.client(mode)), QUERY, ["Ottawa"])
    assert response.request_id == "req-1"
    assert response.id.startswith("rerank-")


def tokens(text: str) -> float:
    """An upper bound for any language: English has about a token for every four bytes."""
    return len(text.encode()) / 3


def parts(model: str, query: str, documents: list[Any], size: int = 1000, **options: Any) -> list[list[Any]]:
    """The documents of each request."""
    request = RerankRequest(query=query, documents=documents, **options)
    starts = list(connect(model).batch_starts(request, size))
    return [documents[start:end] for start, end in zip(starts, [*starts[1:], len(documents)], strict=True)]


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("rerank-1", 300_000),
        ("rerank-lite-1", 300_000),
        ("rerank-2", 600_000),
        ("rerank-2-lite", 600_000),
        ("rerank-2.5", 600_000),
        ("rerank-2.5-lite", 600_000),
        ("rerank-3", 600_000),
    ],
)
@pytest.mark.parametrize(
    ("query", "documents"),
    [
        ("short", ["Ottawa is a city. " * 4_000] * 40),
        ("a long question " * 1_500, ["Ottawa"] * 200),
        ("短い", ["オタワは首都です。" * 6_000] * 20),
        ("short", [text * 30_000 for text in ("a", "bb ccc ", "d" * 20)] * 9),
    ],
    ids=["long documents", "long query", "not English", "mixed"],
)
def test_batches_stay_below_the_token_limit(model: str, limit: int, query: str, documents: list[str]) -> None:
    made = parts(f"voyage/{model}", query, documents)
    sizes = [sum(tokens(query) + tokens(text) for text in part) for part in made]
    assert [text for part in made for text in part] == documents
    assert len(made) > 1
    assert max(sizes) <= limit
    for size, following in zip(sizes, made[1:], strict=False):
        assert size + tokens(query) + tokens(following[0]) > 0.99 * limit, "a batch is smaller than it has to be"


def test_batches_below_the_token_limit_are_full() -> None:
    texts = [f"document {number}" for number in range(2_500)]
    assert [len(part) for part in parts(MODEL, "short", texts)] == [1000, 1000, 500]
    assert [len(part) for part in parts(MODEL, "short", texts[:7], size=3)] == [3, 3, 1]
    assert [len(part) for part in parts(MODEL, "short", ["x" * 600_000] * 5, size=1)] == [1] * 5


def test_document_above_the_token_limit_is_sent_alone() -> None:
    huge = "x" * 2_000_000
    made = parts(MODEL, "short", ["a", "b", huge, huge, "c", "d"])
    assert made == [["a", "b"], [huge], [huge], ["c", "d"]]
    assert parts(MODEL, "short", [huge, "c"]) == [[huge], ["c"]]


def test_token_limit_applies_to_the_text_sent() -> None:
    documents = [{"title": "Ottawa", "body": "x" * 2_000_000}] * 3
    assert len(parts(MODEL, "short", documents, rank_fields=("title",))) == 1
    assert len(parts(MODEL, "short", documents, rank_fields=("body",))) == 3


@pytest.mark.parametrize(("top_n", "batch_size", "sizes"), [(None, None, [2, 2, 1]), (3, 1, [1] * 5)])
def test_call_with_too_many_tokens_is_split(
    top_n: int | None, batch_size: int | None, sizes: list[int], mode: Mode, serve: Callable[..., Loopback]
) -> None:
    documents = ["x" * 600_000 + text for text in NUMBERED]
    server = serve(voyage)
    reranker = mode.reranker(MODEL, api_base=server.url, batch_size=batch_size)
    response = mode.rerank(reranker, QUERY, documents, top_n=top_n)
    assert [each.index for each in response.results] == BEST_FIRST[:top_n]
    assert sorted(len(hit.documents) for hit in server.hits) == sorted(sizes)
    assert sorted(text for hit in server.hits for text in hit.documents) == sorted(documents)
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.total_tokens == 5


@pytest.mark.parametrize(
    "detail",
    [
        "The max allowed tokens per submitted batch is 600000. Your batch has 730418 tokens after truncation.",
        "The request has too many tokens.",
    ],
)
def test_request_that_is_too_large_is_halved(detail: str, mode: Mode, serve: Callable[..., Loopback]) -> None:
    def small(line: Line) -> None:
        if len(line.hit.documents) > 2:
            line.answer(400, {"detail": detail})
        else:
            voyage(line)

    server = serve(small)
    reranker = mode.reranker(MODEL, api_base=server.url)
    response = mode.rerank(reranker, QUERY, NUMBERED)
    assert [each.index for each in response.results] == BEST_FIRST
    assert [len(hit.documents) for hit in server.hits] == [5, 2, 3, 1, 2]
