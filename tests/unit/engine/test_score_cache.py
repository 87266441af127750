"""Cached scores are not paid for again, and a broken cache or entry never changes a result."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.frameworks import FACES, NVIDIA, Face, Wire, in_turn, refusing, well
from tests.support.harness import KEY, QUERY, Mode
from tests.unit.engine.cached import TEXTS, served

from anyrerank import (
    BadRequestError,
    MemoryCache,
    Reranker,
    SQLiteCache,
)
from anyrerank.cache import Cache

JINA = "jina_ai/jina-reranker-v3"


def sent(wire: Wire) -> list[list[Any]]:
    return [body["documents"] for body in wire.bodies]


def test_cached_documents_are_not_sent_again(mode: Mode) -> None:
    wire = Wire()
    reranker = served(mode, wire)
    hundred = [f"text {number}" for number in range(100)]
    first = mode.rerank(reranker, QUERY, hundred)
    second = mode.rerank(reranker, QUERY, [*hundred[10:], *(f"new {number}" for number in range(200, 210))])
    assert [len(documents) for documents in sent(wire)] == [100, 10]
    assert (first.cached, first.saved, first.cost) == (0, 0.0, 0.002)
    assert (second.cached, second.cost) == (90, 0.002)
    assert [(result.index, result.relevance_score) for result in second.results[:2]] == [(99, 209.0), (98, 208.0)]


def test_call_with_cached_documents_only_sends_nothing_and_costs_nothing(mode: Mode) -> None:
    wire = Wire()
    reranker = served(mode, wire)
    first = mode.rerank(reranker, QUERY, TEXTS)
    second = mode.rerank(reranker, QUERY, TEXTS[::-1])
    assert len(wire.requests) == 1
    assert (second.cost, second.attempts, second.cached) == (0.0, (), 3)
    assert second.saved == pytest.approx(0.002)
    assert second.meta.billed_units is None
    assert [result.document for result in second.results] == [result.document for result in first.results]
    assert second.results.scores == first.results.scores


def test_options_that_do_not_change_a_score_hit_the_cache(mode: Mode) -> None:
    wire = Wire()
    reranker = served(mode, wire)
    top = mode.rerank(reranker, QUERY, TEXTS, top_n=1)
    assert wire.body.get("top_n") is None
    assert top.results.indexes == (1,)
    assert mode.rerank(reranker, QUERY, TEXTS, score_threshold=0.4).results.indexes == (1, 2)
    assert mode.rerank(reranker, QUERY, TEXTS, score_mode="unit", fuse="rrf", user="ann").cached == 3
    assert len(wire.requests) == 1


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "query": ({}, {"query": "another"}),
    "option": ({}, {"max_tokens_per_doc": 64}),
    "extra_body": ({}, {"extra_body": {"x": 1}}),
    "model": ({"model": "cohere/rerank-v4.0-fast"}, {}),
    "provider": ({"model": NVIDIA}, {}),
    "base": ({"api_base": "https://other.test"}, {}),
    "header": ({"headers": {"x-tenant": "2"}}, {}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_options_that_may_change_a_score_miss_the_cache(mode: Mode, name: str) -> None:
    made, called = CHANGES[name]
    wire, cache = Wire(), MemoryCache()
    mode.rerank(served(mode, wire, cache=cache), QUERY, TEXTS)
    query = called.get("query", QUERY)
    options = {option: value for option, value in called.items() if option != "query"}
    response = mode.rerank(served(mode, wire, **{"cache": cache, **made}), query, TEXTS, **options)
    assert len(wire.requests) == 2
    assert (response.cached, response.saved) == (0, 0.0)


def test_another_api_key_hits_the_cache(mode: Mode) -> None:
    wire, cache = Wire(), MemoryCache()
    mode.rerank(served(mode, wire, cache=cache), QUERY, TEXTS)
    other = served(mode, wire, cache=cache, api_key="another", headers={"Authorization": "Bearer third"})
    assert mode.rerank(other, QUERY, TEXTS).cached == 3


def test_identical_documents_of_a_call_are_sent_once(mode: Mode) -> None:
    wire = Wire()
    response = mode.rerank(served(mode, wire), QUERY, ["a 0.1", "", "b 0.9", "a 0.1", {"text": "b 0.9"}])
    assert wire.sent == ["a 0.1", "b 0.9"]
    assert list(response.results.pairs()) == [(2, 0.9), (4, 0.9), (0, 0.1), (3, 0.1), (1, None)]
    assert response.cached == 0


def test_listwise_model_is_cached_by_the_call(mode: Mode) -> None:
    wire = Wire()
    reranker = served(mode, wire, JINA)
    first = mode.rerank(reranker, QUERY, TEXTS)
    again = mode.rerank(reranker, QUERY, TEXTS, top_n=2)
    assert len(wire.requests) == 1
    assert (again.cached, again.cost, again.results.indexes) == (3, 0.0, first.results.indexes[:2])
    assert mode.rerank(reranker, QUERY, TEXTS[:2]).cached == 0
    assert mode.rerank(reranker, QUERY, TEXTS[::-1]).cached == 0
    assert mode.rerank(reranker, QUERY, ["a 0.1b 0.9", "c 0.5"]).cached == 0
    assert len(wire.requests) == 4


def test_batches_hold_missing_documents_only(mode: Mode) -> None:
    wire = Wire()
    reranker = served(mode, wire, batch_size=2, max_concurrency=1)
    mode.rerank(reranker, QUERY, ["a 0.1", "b 0.2", "c 0.3"])
    response = mode.rerank(reranker, QUERY, ["d 0.4", "a 0.1", "e 0.5", "b 0.2", "f 0.6"])
    assert sent(wire)[2:] == [["d 0.4", "e 0.5"], ["f 0.6"]]
    assert response.results.indexes == (4, 2, 0, 3, 1)
    assert response.cached == 2


def test_error_names_the_index_in_the_call(mode: Mode) -> None:
    def large(request: httpx.Request) -> httpx.Response:
        return httpx.Response(413, text="too large") if b"huge" in request.content else well(request)

    reranker = served(mode, Wire(large))
    mode.rerank(reranker, QUERY, TEXTS)
    with pytest.raises(BadRequestError, match=r"documents\[3\] is too large"):
        mode.rerank(reranker, QUERY, [*TEXTS, "huge"])


def test_scores_before_a_failure_stay_cached(mode: Mode) -> None:
    wire = Wire(in_turn(well, refusing(400)))
    reranker = served(mode, wire)
    mode.rerank(reranker, QUERY, TEXTS)
    with pytest.raises(BadRequestError):
        mode.rerank(reranker, QUERY, [*TEXTS, "d"])
    assert mode.rerank(reranker, QUERY, TEXTS).cached == 3


def test_sqlite_file_serves_another_reranker(mode: Mode, tmp_path: Path) -> None:
    wire = Wire()
    with SQLiteCache(tmp_path / "scores.db") as cache:
        mode.rerank(served(mode, wire, cache=cache), QUERY, TEXTS)
    with SQLiteCache(tmp_path / "scores.db") as cache:
        response = mode.rerank(served(mode, wire, cache=cache), QUERY, TEXTS)
    assert (len(wire.requests), response.cached) == (1, 3)
    assert response.saved == pytest.approx(0.002)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not [text for text in (QUERY, *TEXTS, KEY) if text.encode() in stored]


@pytest.mark.parametrize("face", FACES, ids=str)
def test_cache_works_in_a_framework(face: Face) -> None:
    wire = Wire()
    adapter = face.make(wire, cache=MemoryCache())
    for _ in range(2):
        assert face.ranked(adapter, TEXTS) == [("b 0.9", 0.9), ("c 0.5", 0.5), ("a 0.1", 0.1)]
    assert len(wire.requests) == 1


class Odd(Cache):
    """A cache with the given functions."""

    blocking = False

    def __init__(self, get: Callable[[Sequence[bytes]], Any], put: Callable[[Mapping[bytes, bytes]], Any]) -> None:
        self._get, self._put = get, put

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self._get(keys)
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        self._put(entries)

    def clear(self) -> None:
        raise AssertionError("only users clear a cache")


def broken(_: object) -> Any:
    raise OSError("no such disk")


def nothing(_: object) -> Any:
    return {}


@pytest.mark.parametrize(("get", "put"), [(broken, nothing), (nothing, broken), (broken, broken)])
@pytest.mark.parametrize("model", ["cohere/rerank-v3.5", JINA])
def test_call_goes_on_without_a_cache_that_fails(
    mode: Mode, get: Any, put: Any, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    reranker = served(mode, Wire(), model, cache=Odd(get, put))
    for _ in range(3):
        assert mode.rerank(reranker, QUERY, TEXTS).results.indexes == (1, 2, 0)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        "the cache Odd failed with OSError; calls go on without it, and further failures are not logged"
    ]


class Native(Odd):
    """A cache that waits, and that tells on which thread each of its methods ran."""

    blocking = True

    def __init__(self) -> None:
        self.called: list[tuple[str, bool]] = []
        self.entries: dict[bytes, bytes] = {}

    def note(self, method: str) -> None:
        self.called.append((method, threading.current_thread() is threading.main_thread()))

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        self.note("get")
        return {key: self.entries[key] for key in keys if key in self.entries}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        self.note("put")
        self.entries.update(entries)


class NativelyAsync(Native):
    async def aget(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        self.note("aget")
        return {key: self.entries[key] for key in keys if key in self.entries}

    async def aput(self, entries: Mapping[bytes, bytes]) -> None:
        self.note("aput")
        self.entries.update(entries)


@pytest.mark.parametrize(
    ("kind", "asynchronous"),
    [(Native, [("get", False), ("put", False)]), (NativelyAsync, [("aget", True), ("aput", True)])],
)
def test_a_cache_that_waits_never_does_so_on_the_event_loop(
    mode: Mode, kind: type[Native], asynchronous: list[tuple[str, bool]]
) -> None:
    cache = kind()
    reranker = served(mode, Wire(), cache=cache)
    assert mode.rerank(reranker, QUERY, TEXTS).cached == 0
    assert mode.rerank(reranker, QUERY, TEXTS).cached == 3
    first = asynchronous if mode.asynchronous else [("get", True), ("put", True)]
    assert cache.called == [*first, first[0]]


def test_a_failure_of_a_native_method_does_not_break_the_call(mode: Mode) -> None:
    class Broken(NativelyAsync):
        async def aget(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
            raise OSError("away")

        def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
            raise OSError("away")

    assert mode.rerank(served(mode, Wire(), cache=Broken()), QUERY, TEXTS).results.indexes == (1, 2, 0)


WRONG = [b"", b"short", bytes(16)[:15], bytes(17), b"\xff" * 16, b"\xff" * 20, bytes(8), bytes(8) + b"\xff" * 12]


@pytest.mark.parametrize("value", [*WRONG, bytes(8) + bytes(12) * 2], ids=repr)
@pytest.mark.parametrize("model", ["cohere/rerank-v3.5", JINA])
def test_malformed_entry_is_a_miss(mode: Mode, model: str, value: bytes) -> None:
    wire = Wire()
    cache = Odd(lambda keys: dict.fromkeys([*keys, b"another"], value), nothing)
    response = mode.rerank(served(mode, wire, model, cache=cache), QUERY, TEXTS)
    assert response.results.scores == (0.9, 0.5, 0.1)
    assert response.cached == 0


def test_cache_keys_are_digests(mode: Mode) -> None:
    keys: list[bytes] = []
    cache = Odd(nothing, keys.extend)
    mode.rerank(served(mode, Wire(), cache=cache), QUERY, TEXTS)
    assert {len(key) for key in keys} == {16}
    assert len(set(keys)) == 3


@pytest.mark.parametrize("cache", [True, {}, MemoryCache])
def test_cache_of_another_type_is_refused(mode: Mode, cache: Any) -> None:
    with pytest.raises(BadRequestError, match=r"cache must be a Cache such as MemoryCache\(\), or None"):
        mode.reranker(cache=cache)


@pytest.mark.parametrize(
    ("model", "documents", "options"),
    [
        ("cohere/m", [{"image": "logo.png", "title": f"text {n}"} for n in (1, 2)], {"rank_fields": ["title"]}),
        ("litellm_proxy/m", [{"text": "the same", "title": f"text {n}"} for n in (1, 2)], {}),
    ],
)
def test_documents_that_differ_for_the_model_are_both_sent(
    mode: Mode, model: str, documents: list[dict[str, str]], options: dict[str, Any]
) -> None:
    wire = Wire()
    reranker = served(mode, wire, model, api_base="https://proxy.test", **options)
    mode.rerank(reranker, QUERY, documents)
    assert len(wire.sent) == 2


def test_option_that_is_not_json_is_the_same_error_as_without_a_cache(mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="cannot be encoded as JSON"):
        mode.rerank(served(mode, Wire(), extra_body={"seed": 2**70}), QUERY, TEXTS)


def spanned(request: httpx.Request) -> httpx.Response:
    """Scores, and a span for each document that has a 9."""
    documents = json.loads(request.content)["documents"]
    rows: list[dict[str, Any]] = [{"index": n, "relevance_score": float(text[-3:])} for n, text in enumerate(documents)]
    for row in rows:
        if "9" in documents[row["index"]]:
            row["relevant_spans"] = [{"start": 0, "end": 1, "score": row["relevance_score"]}]
    return httpx.Response(200, json={"results": rows})


def test_relevant_spans_are_cached_with_the_scores(mode: Mode) -> None:
    wire = Wire(spanned)
    reranker = served(mode, wire, "cohere/rerank-v5.0-pro")
    first = mode.rerank(reranker, QUERY, TEXTS, relevant_spans=True)
    second = mode.rerank(reranker, QUERY, ["new 0.9", *TEXTS], relevant_spans=True)
    plain = mode.rerank(reranker, QUERY, TEXTS)
    assert first.ranking.spans == {1: [{"start": 0, "end": 1, "score": 0.9}]}
    assert second.ranking.spans == {key: [{"start": 0, "end": 1, "score": 0.9}] for key in (0, 2)}
    assert (second.cached, plain.cached, plain.ranking.spans) == (3, 0, {})
    assert sent(wire) == [TEXTS, ["new 0.9"], TEXTS]


@pytest.mark.parametrize("end", [b"x", b"{}", b"1"])
def test_entry_with_damaged_spans_is_sent_again(end: bytes, mode: Mode) -> None:
    class Damaged(MemoryCache):
        def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
            return {key: value + end for key, value in super().get(keys).items()}

    wire = Wire()
    reranker = served(mode, wire, cache=Damaged())
    for _ in range(2):
        assert mode.rerank(reranker, QUERY, TEXTS).cached == 0
    assert sent(wire) == [TEXTS, TEXTS]


def test_text_with_half_a_character_is_cached(mode: Mode) -> None:
    wire = Wire()
    reranker = served(mode, wire)
    for _ in range(2):
        found = mode.rerank(reranker, f"{QUERY} \ud835", ["\ud800 0.5", "b 0.9"])
        assert [result.index for result in found.results] == [1, 0]
    assert sent(wire) == [["\ufffd 0.5", "b 0.9"]]


words = st.sampled_from(["a 0.1", "b 0.2", "c 0.3", "d 0.4", "e 0.5", " ", "f 0.6"])


@given(st.lists(st.lists(words, min_size=1, max_size=8).filter(lambda each: any(map(str.strip, each))), max_size=6))
def test_cache_changes_only_the_cost(calls: list[list[str]]) -> None:
    wire = Wire()
    with httpx.Client(transport=httpx.MockTransport(wire)) as client:
        plain = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client)
        cached = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, cache=MemoryCache())
        for documents in calls:
            expected, found = plain.rerank(QUERY, documents), cached.rerank(QUERY, documents)
            assert list(found.results.pairs()) == list(expected.results.pairs())
            assert found.cached <= len(documents)
