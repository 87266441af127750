"""What both frameworks' adapters share: what leaves the process for a list of items, and what comes back."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.support.frameworks import COHERE, FACES, KINDS, LOCAL, NVIDIA, NVIDIA_VL, Face, Wire, in_turn, refusing, well
from tests.support.harness import KEY, QUERY
from tests.support.loopback import PATIENCE

from anyrerank import (
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    FallbackError,
    GuardrailRaisedError,
    InternalServerError,
    RateLimitError,
    Reranker,
    using_attributes,
)
from anyrerank._adapters import image_data_url
from anyrerank.hooks import CallEvent
from anyrerank.providers import Provider
from anyrerank.providers.cohere import Cohere

ITEMS = ["c 0.3", "a 0.9", "b 0.5"]
RANKED = [("a 0.9", 0.9), ("b 0.5", 0.5), ("c 0.3", 0.3)]
PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(params=FACES, ids=str)
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture(params=KINDS, ids=lambda face: face.framework)
def framework(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_best_first_with_one_request(face: Face, wire: Wire) -> None:
    assert face.ranked(face.make(wire), ITEMS) == RANKED
    assert wire.body == {"model": "rerank-v3.5", "query": QUERY, "documents": ITEMS}
    assert wire.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_ties_keep_their_order_and_duplicates_stay(face: Face, wire: Wire) -> None:
    items = [face.item(text, place=place) for place, text in enumerate(["x 0.5", "y 0.5", "x 0.5", "z 0.7", "y 0.5"])]
    text_fn = face.text
    found = face.rerank(face.make(wire, text_fn=text_fn), items)
    assert [item.metadata["place"] for item in found] == [3, 0, 1, 2, 4]
    assert len(wire.sent) == 5


@pytest.mark.parametrize(("top_n", "sent", "count"), [(None, None, 3), (1, 1, 1), (2, 2, 2), (3, 3, 3), (99, 3, 3)])
def test_top_n(face: Face, wire: Wire, top_n: int | None, sent: int | None, count: int) -> None:
    assert face.ranked(face.make(wire, top_n=top_n), ITEMS) == RANKED[:count]
    assert wire.body.get("top_n") == sent


def test_a_server_that_ignores_top_n_is_cut(face: Face) -> None:
    rows = [{"index": 0, "relevance_score": 0.1}, {"index": 2, "relevance_score": 0.3}]
    rows.append({"index": 1, "relevance_score": 0.2})
    wire = Wire(lambda request: httpx.Response(200, json={"results": rows}))
    assert face.ranked(face.make(wire, top_n=2), ["p", "q", "r"]) == [("r", 0.3), ("q", 0.2)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_n": 0},
        {"top_n": -1},
        {"batch_size": 0},
        {"max_retries": -1},
        {"max_concurrency": 0},
        {"timeout": 0},
        {"score_mode": "sigmoid"},
        {"on_error": "ignore"},
        {"fuse": "max"},
        {"top_k": 2},
        {"model": None},
        {"reranker": Reranker(COHERE)},
    ],
    ids=str,
)
def test_refused_at_construction(framework: Face, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        framework.kind(**{"model": COHERE, **wrong})


def test_an_empty_list_asks_nobody(face: Face, wire: Wire) -> None:
    assert face.rerank(face.make(wire), []) == []
    assert wire.requests == []


@pytest.mark.parametrize("query", ["", " \n"])
def test_a_blank_query_is_refused_before_it_is_sent(face: Face, wire: Wire, query: str) -> None:
    with pytest.raises(BadRequestError, match="query must not be blank"):
        face.rerank(face.make(wire, on_error="passthrough"), ITEMS, query)
    assert wire.requests == []


@pytest.mark.parametrize(("top_n", "count"), [(None, 4), (3, 3), (1, 1)])
def test_blank_items_are_not_sent_and_come_last(face: Face, wire: Wire, top_n: int | None, count: int) -> None:
    found = face.ranked(face.make(wire, top_n=top_n), ["", "b 0.5", " \n", "a 0.9"])
    assert found == [("a 0.9", 0.9), ("b 0.5", 0.5), ("", None), (" \n", None)][:count]
    assert wire.sent == ["b 0.5", "a 0.9"]


def test_the_input_is_not_changed(face: Face, wire: Wire) -> None:
    items = [face.item(text, relevance_score="old", nested={"tags": [text]}) for text in ITEMS]
    before = copy.deepcopy(items)
    found = face.rerank(face.make(wire, keep_retrieval_score=True), items)
    found[0].metadata["added"] = True
    assert items == before
    assert not {id(item) for item in found} & {id(item) for item in items}
    assert [item.metadata["nested"] for item in found] == [{"tags": [text]} for text, _ in RANKED]


def test_scores_are_floats_of_python(face: Face) -> None:
    rows = [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": 0}]
    wire = Wire(lambda request: httpx.Response(200, json={"results": rows}))
    scores = [score for _, score in face.ranked(face.make(wire), ["p", "q"])]
    assert scores == [1.0, 0.0]
    assert {type(score) for score in scores} == {float}


def test_a_threshold_of_zero_counts_and_includes_zero(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, model=NVIDIA, score_threshold=0.0)
    assert face.ranked(adapter, ["a -2.5", "b 0.0", "c 4.0"]) == [("c 4.0", 4.0), ("b 0.0", 0.0)]


def test_scores_within_0_and_1(face: Face, wire: Wire) -> None:
    found = face.ranked(face.make(wire, model=NVIDIA, score_mode="unit"), ["a -30", "b 0", "c 30"])
    assert [text for text, _ in found] == ["c 30", "b 0", "a -30"]
    assert [score for _, score in found] == pytest.approx([1.0, 0.5, 0.0])


def test_fields_reach_the_wire(face: Face, wire: Wire) -> None:
    adapter = face.make(
        wire,
        base_url="http://127.0.0.1:1/v2",
        headers={"x-team": "search"},
        max_tokens_per_doc=99,
        extra_body={"safe": 7},
        truncate="END",
        drop_params=True,
    )
    face.rerank(adapter, ITEMS)
    assert str(wire.requests[0].url) == "http://127.0.0.1:1/v2/rerank"
    assert wire.requests[0].headers["x-team"] == "search"
    assert (wire.body["max_tokens_per_doc"], wire.body["safe"]) == (99, 7)
    assert "truncate" not in wire.body


def test_an_option_that_the_provider_does_not_have_is_refused(framework: Face) -> None:
    with pytest.raises(BadRequestError, match="truncate"):
        framework.make(model=COHERE, truncate="END")


def test_batches(face: Face, wire: Wire) -> None:
    texts = [f"{place} 0.{place}" for place in range(1, 6)]
    assert face.ranked(face.make(wire, batch_size=2, top_n=2), texts) == [("5 0.5", 0.5), ("4 0.4", 0.4)]
    assert sorted(tuple(body["documents"]) for body in wire.bodies) == [
        ("1 0.1", "2 0.2"),
        ("3 0.3", "4 0.4"),
        ("5 0.5",),
    ]


def test_dedupe_sends_once_and_scores_every_copy(face: Face, wire: Wire) -> None:
    found = face.ranked(face.make(wire, dedupe=True), ["x 0.2", "y 0.4", "x 0.2"])
    assert found == [("y 0.4", 0.4), ("x 0.2", 0.2), ("x 0.2", 0.2)]
    assert wire.sent == ["x 0.2", "y 0.4"]


def test_rank_fields(face: Face, wire: Wire) -> None:
    items = [face.item("body", title="first 0.1", year=1999), face.item("body", title="second 0.2", year=2001)]
    found = face.rerank(face.make(wire, rank_fields=["text", "title"]), items)
    assert [item.metadata["title"] for item in found] == ["second 0.2", "first 0.1"]
    assert all("body" in text and "first" in text for text in wire.sent[:1])
    assert "1999" not in str(wire.sent)


@pytest.mark.parametrize("base", ["https://api.cohere.com/v1", "https://api.cohere.com/v2"])
def test_of_the_metadata_only_the_rank_fields_leave(face: Face, wire: Wire, base: str) -> None:
    items = [face.item(text, title=text, owner="confidential") for text in ITEMS]
    face.rerank(face.make(wire, rank_fields=["title"], api_base=base), items)
    assert b"0.9" in wire.requests[0].content
    assert b"confidential" not in wire.requests[0].content


@pytest.mark.parametrize("model", [COHERE, NVIDIA, LOCAL])
def test_other_metadata_cannot_break_rank_fields(face: Face, wire: Wire, model: str) -> None:
    items = [face.item(text, title=text, image="cover.png", seen=object()) for text in ITEMS]
    adapter = face.make(wire, model=model, rank_fields=["title"], api_base=None if model == NVIDIA else "http://x/v1")
    assert len(face.rerank(adapter, items)) == 3


def test_text_fn(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, text_fn=lambda item: f"title {item.metadata['n']}")
    found = face.rerank(adapter, [face.item("p", n=1), face.item("q", n=2)])
    assert [text for text, _ in face.pairs(found)] == ["q", "p"]
    assert wire.sent == ["title 1", "title 2"]


def test_a_text_fn_may_add_an_image(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, model=NVIDIA_VL, text_fn=lambda item: {"text": face.text(item), "image": PNG})
    assert face.ranked(adapter, ["a 1", "b 2"]) == [("b 2", 2.0), ("a 1", 1.0)]
    assert wire.sent == [{"text": "a 1", "image": PNG}, {"text": "b 2", "image": PNG}]


def _rrf(reranked: int, incoming: int) -> float:
    return 1 / (60 + reranked) + 1 / (60 + incoming)


APPLES = ["cherry pie", "apple pie", "apple apple"]


@pytest.mark.parametrize(
    ("fields", "fused"),
    [({}, True), ({"fuse": "auto"}, True), ({"fuse": "rrf"}, True), ({"fuse": None}, False)],
    ids=str,
)
def test_the_local_model_is_fused_unless_told_otherwise(face: Face, fields: dict[str, Any], fused: bool) -> None:
    found = face.ranked(face.make(model=LOCAL, api_key=None, **fields), APPLES, "apple")
    plain = Reranker(LOCAL).rerank("apple", APPLES, fuse="rrf" if fused else None)
    assert found == [(APPLES[index], score) for index, score in plain.results.pairs()]
    assert (max(score or 0 for _, score in found) < 0.04) is fused


@pytest.mark.parametrize("fields", [{}, {"fuse": "auto"}, {"fuse": None}], ids=str)
def test_a_server_is_not_fused_unless_told_so(face: Face, wire: Wire, fields: dict[str, Any]) -> None:
    assert face.ranked(face.make(wire, **fields), ITEMS) == RANKED


def test_fusing_with_the_incoming_order(face: Face, wire: Wire) -> None:
    found = face.ranked(face.make(wire, fuse="rrf", top_n=2), ["p 0.1", "q 0.2", "r 0.9"])
    assert found == [("p 0.1", _rrf(3, 1)), ("r 0.9", _rrf(1, 3))]
    assert "top_n" not in wire.body


@pytest.mark.parametrize(("status", "error"), [(429, RateLimitError), (503, InternalServerError)])
def test_errors_are_the_typed_ones(face: Face, status: int, error: type[Exception]) -> None:
    wire = Wire(refusing(status))
    with pytest.raises(error, match="refused by the test"):
        face.rerank(face.make(wire), ITEMS)
    assert len(wire.requests) == 1


def test_retries(face: Face, waits: list[float]) -> None:
    wire = Wire(in_turn(refusing(503), well))
    assert face.ranked(face.make(wire, max_retries=1), ITEMS) == RANKED
    assert len(wire.requests) == 2
    assert len(waits) == 1


def test_fallbacks(face: Face) -> None:
    wire = Wire(in_turn(refusing(503), well))
    assert face.ranked(face.make(wire, fallbacks=["cohere/rerank-v4.0-fast"]), ITEMS) == RANKED
    assert [body["model"] for body in wire.bodies] == ["rerank-v3.5", "rerank-v4.0-fast"]
    assert {request.headers["authorization"] for request in wire.requests} == {f"Bearer {KEY}"}


def test_a_fallback_of_another_provider_has_its_own_key(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "other-key")
    wire = Wire(refusing(503))
    with pytest.raises(FallbackError):
        face.rerank(face.make(wire, fallbacks=[NVIDIA]), ITEMS)
    assert [request.headers["authorization"] for request in wire.requests] == [f"Bearer {KEY}", "Bearer other-key"]


def test_passthrough_hands_back_the_incoming_order(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(refusing(503))
    with caplog.at_level(logging.WARNING, logger="anyrerank"):
        found = face.ranked(face.make(wire, on_error="passthrough", top_n=2), ITEMS)
    assert found == [("c 0.3", None), ("a 0.9", None)]
    (record,) = caplog.records
    assert "InternalServerError" in record.getMessage()


@pytest.mark.parametrize(
    ("own", "fields", "count"),
    [
        ({"top_n": 2}, {}, 2),
        ({"score_threshold": 0.5}, {}, 2),
        ({"top_n": 1}, {"top_n": 2}, 2),
        ({"fuse": "rrf", "top_n": 1}, {}, 1),
    ],
    ids=str,
)
def test_a_ready_reranker_keeps_its_options(
    face: Face, wire: Wire, own: dict[str, Any], fields: dict[str, Any], count: int
) -> None:
    reranker = Reranker(COHERE, api_key=KEY, http_client=wire.client(asynchronous=face.asynchronous), **own)
    found = face.ranked(face.make(reranker=reranker, **fields), ITEMS)
    assert found == [
        (ITEMS[index], score)
        for index, score in Reranker(COHERE, api_key=KEY, http_client=Wire().client(asynchronous=False), **own)
        .rerank(QUERY, ITEMS, **fields)
        .results.pairs()
    ]
    assert len(found) == count


def test_a_ready_reranker_keeps_its_rank_fields(face: Face, wire: Wire) -> None:
    client = wire.client(asynchronous=face.asynchronous)
    reranker = Reranker(COHERE, api_key=KEY, http_client=client, rank_fields=["title"])
    items = [face.item("body", title="first 0.1"), face.item("body", title="second 0.2")]
    found = face.rerank(face.make(reranker=reranker), items)
    assert [item.metadata["title"] for item in found] == ["second 0.2", "first 0.1"]


@pytest.mark.parametrize(("fields", "fused"), [({}, True), ({"fuse": None}, False)], ids=str)
def test_a_ready_local_reranker_is_fused_like_any_other(face: Face, fields: dict[str, Any], fused: bool) -> None:
    found = face.ranked(face.make(reranker=Reranker(LOCAL), **fields), APPLES, "apple")
    assert found == face.ranked(face.make(model=LOCAL, api_key=None, **fields), APPLES, "apple")
    assert (max(score or 0 for _, score in found) < 0.04) is fused


@pytest.mark.parametrize(
    "field",
    [
        {"score_threshold": 0.5},
        {"rank_fields": ["title"]},
        {"batch_size": 1},
        {"api_key": KEY},
        {"api_base": "http://x"},
    ],
    ids=str,
)
def test_an_option_that_a_ready_reranker_would_not_see_is_refused(framework: Face, field: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=f"{next(iter(field))} cannot be set"):
        framework.kind(reranker=Reranker(COHERE), **field)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"BM\x00\x00", "image/bmp"),
        (b"II*\x00", "image/tiff"),
        (b"MM\x00*", "image/tiff"),
        (b"who knows", "image/png"),
    ],
)
def test_the_kind_of_an_image_is_what_its_first_bytes_say(start: bytes, kind: str) -> None:
    data = base64.b64encode(start + bytes(8)).decode()
    assert image_data_url(data, None) == f"data:{kind};base64,{data}"
    assert image_data_url(data, "image/x-own") == f"data:image/x-own;base64,{data}"
    assert image_data_url(f"data:image/x;base64,{data}", None) == f"data:image/x;base64,{data}"


@pytest.mark.parametrize("face", FACES, ids=str)
def test_words_are_fused_with_the_incoming_order_as_a_fallback_too(face: Face) -> None:
    found = ["apples and pears", "pears", "apples", "apples apples"]
    alone = face.make(model=LOCAL)
    spare = face.make(Wire(refusing(401)), fallbacks=[LOCAL])
    assert face.ranked(spare, found, "apples") == face.ranked(alone, found, "apples")
    assert face.ranked(face.make(model=LOCAL, fuse=None), found, "apples") != face.ranked(alone, found, "apples")


@pytest.mark.parametrize(
    "given",
    [iter, lambda items: filter(None, items), lambda items: dict(enumerate(items)).values(), tuple],
    ids=["iterator", "filter", "values", "tuple"],
)
def test_what_is_no_list_is_read_once(face: Face, wire: Wire, given: Callable[[list[Any]], Any]) -> None:
    adapter = face.make(wire)
    items = given([face.item(text) for text in ITEMS])
    found = _asked_as_it_is(face, adapter, items)
    assert face.pairs(found) == RANKED
    assert wire.sent == ITEMS
    assert _asked_as_it_is(face, adapter, iter(())) == []
    assert len(wire.requests) == 1


def _asked_as_it_is(face: Face, adapter: Any, items: Any) -> Any:
    if face.asynchronous:
        return asyncio.run(_aasked_as_it_is(face, adapter, items))
    return (
        adapter.compress_documents(items, QUERY)
        if face.framework == "langchain"
        else adapter.postprocess_nodes(items, query_str=QUERY)
    )


async def _aasked_as_it_is(face: Face, adapter: Any, items: Any) -> Any:
    if face.framework == "langchain":
        return await adapter.acompress_documents(items, QUERY)
    return await adapter.apostprocess_nodes(items, query_str=QUERY)


def _forbid(query: str) -> str:
    raise GuardrailRaisedError("not this one")


async def _later(query: str) -> str:
    return query


def test_hooks_and_the_log_hear_of_a_query_that_a_guardrail_stops(
    face: Face, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[CallEvent] = []
    adapter = face.make(wire, guardrails=[_forbid], hooks=[heard.append], user="ann", on_error="passthrough")
    with caplog.at_level(logging.INFO, logger="anyrerank"), pytest.raises(GuardrailRaisedError, match="not this one"):
        face.rerank(adapter, ITEMS)
    ((event,), (record,)) = heard, caplog.records
    assert (type(event.error), event.query, event.user) == (GuardrailRaisedError, "", "ann")
    assert "GuardrailRaisedError" in record.getMessage()
    assert wire.requests == []


def test_nothing_is_read_for_a_query_that_a_guardrail_stops(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, guardrails=[_forbid], text_fn=lambda item: 1 / 0)
    with pytest.raises(GuardrailRaisedError):
        face.rerank(adapter, ITEMS)


def test_hooks_hear_of_a_guardrail_of_the_other_mode(framework: Face, wire: Wire) -> None:
    heard: list[CallEvent] = []
    with pytest.raises(ConfigurationError, match="asynchronous"):
        framework.rerank(framework.make(wire, guardrails=[_later], hooks=[heard.append]), ITEMS)
    assert [type(event.error) for event in heard] == [ConfigurationError]
    assert wire.requests == []


def test_guardrails_and_the_request_share_the_timeout(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slow(query: str) -> str:
        now[0] += seconds
        return query

    adapter = face.make(wire, guardrails=[slow], timeout=60.0)
    seconds = 20.0
    face.rerank(adapter, ITEMS)
    assert 39 < wire.requests[0].extensions["timeout"]["read"] <= 40
    seconds = 60.0
    with pytest.raises(APITimeoutError):
        face.rerank(adapter, ITEMS)
    assert len(wire.requests) == 1
    face.rerank(face.make(wire, guardrails=[slow], timeout=None), ITEMS)
    assert len(wire.requests) == 2


async def test_a_guardrail_that_never_answers_is_not_waited_for(framework: Face, wire: Wire) -> None:
    heard: list[CallEvent] = []

    async def never(query: str) -> str:
        await asyncio.Event().wait()
        return query

    adapter = framework.make(wire, guardrails=[never], timeout=0.01, hooks=[heard.append])
    with pytest.raises(APITimeoutError):
        await asyncio.wait_for(framework.arerank(adapter, ITEMS), PATIENCE)
    assert [type(event.error) for event in heard] == [APITimeoutError]
    assert wire.requests == []


def test_tags_of_every_call(face: Face, wire: Wire) -> None:
    heard: list[CallEvent] = []
    adapter = face.make(wire, metadata={"team": "search", "page": 1}, hooks=[heard.append])
    face.rerank(adapter, ITEMS)
    with using_attributes(metadata={"page": 2}):
        face.rerank(adapter, ITEMS)
    assert [event.metadata for event in heard] == [{"team": "search", "page": 1}, {"team": "search", "page": 2}]
    assert adapter.model_dump()["metadata"] == {"team": "search", "page": 1}


def test_tags_beside_a_ready_reranker_are_added_to_its_own(face: Face, wire: Wire) -> None:
    heard: list[CallEvent] = []
    client = wire.client(asynchronous=face.asynchronous)
    own = {"team": "search", "page": 1}
    ready = Reranker(COHERE, api_key=KEY, http_client=client, metadata=own, hooks=[heard.append])
    face.rerank(face.make(reranker=ready), ITEMS)
    adapter = face.make(reranker=ready, metadata={"page": 2, "line": 3})
    face.rerank(adapter, ITEMS)
    with using_attributes(metadata={"line": 4}):
        face.rerank(adapter, ITEMS)
    assert [event.metadata for event in heard] == [own, {**own, "page": 2, "line": 3}, {**own, "page": 2, "line": 4}]


def test_a_reranker_as_a_fallback(face: Face) -> None:
    broken, wire = Wire(refusing(503)), Wire()
    spare = Reranker(NVIDIA, api_key="other-key", http_client=wire.client(asynchronous=face.asynchronous))
    assert face.ranked(face.make(broken, fallbacks=[spare]), ITEMS) == RANKED
    assert (len(broken.requests), wire.requests[0].headers["authorization"]) == (1, "Bearer other-key")


class _Mine(Cohere):
    prefix = "mine"
    title = "Mine"


@pytest.mark.parametrize("name", ["provider", "custom_llm_provider"])
def test_a_provider_class(face: Face, wire: Wire, name: str) -> None:
    kinds: dict[str, type[Provider]] = {name: _Mine}
    adapter = face.make(wire, model="m", api_base="http://127.0.0.1:1/v2", **kinds)
    assert face.ranked(adapter, ITEMS) == RANKED
    assert adapter._core().deployment == "mine/m"
