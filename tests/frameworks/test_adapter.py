"""What both adapters share: what they send for a list of items, and what comes back."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from llama_index.core.schema import MetadataMode
from tests.support.frameworks import COHERE, LOCAL, NVIDIA, NVIDIA_VL, Face, Wire
from tests.support.harness import KEY, QUERY

from anyrerank import BadRequestError, Reranker, using_attributes
from anyrerank._adapters import image_data_url
from anyrerank.hooks import CallEvent

ITEMS = ["c 0.3", "a 0.9", "b 0.5"]
RANKED = [("a 0.9", 0.9), ("b 0.5", 0.5), ("c 0.3", 0.3)]
PNG = "data:image/png;base64,iVBORw0KGgo="


def test_items_come_back_best_first_after_one_request(face: Face, wire: Wire) -> None:
    assert face.ranked(face.make(wire), ITEMS) == RANKED
    assert wire.body == {"model": "rerank-v3.5", "query": QUERY, "documents": ITEMS}
    assert wire.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_ties_keep_their_order_and_duplicates_are_kept(face: Face, wire: Wire) -> None:
    items = [
        face.item(text, number=number) for number, text in enumerate(["x 0.5", "y 0.5", "x 0.5", "z 0.7", "y 0.5"])
    ]
    text_fn = face.text
    found = face.rerank(face.make(wire, text_fn=text_fn), items)
    assert [item.metadata["number"] for item in found] == [3, 0, 1, 2, 4]
    assert len(wire.sent) == 5


@pytest.mark.parametrize(("top_n", "sent", "count"), [(None, None, 3), (1, 1, 1), (2, 2, 2), (3, 3, 3), (99, 3, 3)])
def test_top_n_is_sent_and_applied(face: Face, wire: Wire, top_n: int | None, sent: int | None, count: int) -> None:
    assert face.ranked(face.make(wire, top_n=top_n), ITEMS) == RANKED[:count]
    assert wire.body.get("top_n") == sent


def test_top_n_is_applied_when_a_server_ignores_it(face: Face) -> None:
    rows = [{"index": 0, "relevance_score": 0.1}, {"index": 2, "relevance_score": 0.3}]
    rows.append({"index": 1, "relevance_score": 0.2})
    wire = Wire(lambda request: httpx.Response(200, json={"results": rows}))
    assert face.ranked(face.make(wire, top_n=2), ["p", "q", "r"]) == [("r", 0.3), ("q", 0.2)]


def test_empty_list_sends_nothing(face: Face, wire: Wire) -> None:
    assert face.rerank(face.make(wire), []) == []
    assert wire.requests == []


def test_relevant_spans_are_in_the_metadata(face: Face) -> None:
    spans = [{"start": 0, "end": 1, "score": 0.75}]
    rows = [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.9, "relevant_spans": spans}]
    wire = Wire(lambda _: httpx.Response(200, json={"results": rows}))
    items = [face.item("plain", page=1), face.item("found", page=2)]
    found = face.rerank(face.make(wire, model="cohere/rerank-v5.0-pro", options={"relevant_spans": True}), items)
    metadata = [item.metadata for item in found]
    assert [each["page"] for each in metadata] == [2, 1]
    assert (metadata[0]["relevant_spans"], "relevant_spans" in metadata[1]) == (spans, False)
    assert all("relevant_spans" not in item.metadata for item in items)
    if face.framework == "llama_index":
        assert "relevant_spans" not in found[0].node.get_content(MetadataMode.LLM)


def test_documents_are_cut_on_the_wire_only(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, model=NVIDIA, max_tokens_per_doc=2)
    assert [text for text, _ in face.ranked(adapter, ["first 0.5", "b 0.9"])] == ["b 0.9", "first 0.5"]
    assert wire.sent == [{"text": "first"}, {"text": "b 0.9"}]


def test_half_a_character_is_replaced_on_the_wire_only(face: Face, wire: Wire) -> None:
    found = face.ranked(face.make(wire), ["let \ud835 be 0.5", "b 0.9"], "why \udd38")
    assert found == [("b 0.9", 0.9), ("let \ud835 be 0.5", 0.5)]
    assert (wire.body["query"], wire.sent) == ("why \ufffd", ["let \ufffd be 0.5", "b 0.9"])


@pytest.mark.parametrize("query", ["", " \n"])
def test_blank_query_is_refused_unsent(face: Face, wire: Wire, query: str) -> None:
    with pytest.raises(BadRequestError, match="query must not be blank"):
        face.rerank(face.make(wire, on_error="passthrough"), ITEMS, query)
    assert wire.requests == []


@pytest.mark.parametrize(("top_n", "count"), [(None, 4), (3, 3), (1, 1)])
def test_blank_items_are_not_sent_and_come_last(face: Face, wire: Wire, top_n: int | None, count: int) -> None:
    found = face.ranked(face.make(wire, top_n=top_n), ["", "b 0.5", " \n", "a 0.9"])
    assert found == [("a 0.9", 0.9), ("b 0.5", 0.5), ("", None), (" \n", None)][:count]
    assert wire.sent == ["b 0.5", "a 0.9"]


@pytest.mark.parametrize(("top_n", "count"), [(None, 2), (1, 1)])
def test_blank_items_alone_come_back_unranked(face: Face, wire: Wire, top_n: int | None, count: int) -> None:
    assert face.ranked(face.make(wire, top_n=top_n), [" ", ""]) == [(" ", None), ("", None)][:count]
    assert wire.requests == []


def test_items_without_the_rank_fields_come_last(face: Face, wire: Wire) -> None:
    items = [face.item("p"), face.item("q", title="second 0.2"), face.item("r", title="first 0.9")]
    found = face.pairs(face.rerank(face.make(wire, rank_fields=["title"]), items))
    assert found == [("r", 0.9), ("q", 0.2), ("p", None)]


def test_input_is_not_changed(face: Face, wire: Wire) -> None:
    items = [face.item(text, relevance_score="old", nested={"tags": [text]}) for text in ITEMS]
    before = copy.deepcopy(items)
    found = face.rerank(face.make(wire, keep_retrieval_score=True), items)
    found[0].metadata["added"] = True
    assert items == before
    assert not {id(item) for item in found} & {id(item) for item in items}
    assert [item.metadata["nested"] for item in found] == [{"tags": [text]} for text, _ in RANKED]


def test_scores_are_python_floats(face: Face) -> None:
    rows = [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": 0}]
    wire = Wire(lambda request: httpx.Response(200, json={"results": rows}))
    scores = [score for _, score in face.ranked(face.make(wire), ["p", "q"])]
    assert scores == [1.0, 0.0]
    assert {type(score) for score in scores} == {float}


def test_threshold_of_zero_is_applied_and_inclusive(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, model=NVIDIA, score_threshold=0.0)
    assert face.ranked(adapter, ["a -2.5", "b 0.0", "c 4.0"]) == [("c 4.0", 4.0), ("b 0.0", 0.0)]


def test_unit_scores_are_between_0_and_1(face: Face, wire: Wire) -> None:
    found = face.ranked(face.make(wire, model=NVIDIA, score_mode="unit"), ["a -30", "b 0", "c 30"])
    assert [text for text, _ in found] == ["c 30", "b 0", "a -30"]
    assert [score for _, score in found] == pytest.approx([1.0, 0.5, 0.0])


def test_fields_are_sent(face: Face, wire: Wire) -> None:
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


def test_items_are_sent_in_batches(face: Face, wire: Wire) -> None:
    texts = [f"{number} 0.{number}" for number in range(1, 6)]
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


def test_rank_fields_are_ranked(face: Face, wire: Wire) -> None:
    items = [face.item("body", title="first 0.1", year=1999), face.item("body", title="second 0.2", year=2001)]
    found = face.rerank(face.make(wire, rank_fields=["text", "title"]), items)
    assert [item.metadata["title"] for item in found] == ["second 0.2", "first 0.1"]
    assert all("body" in text and "first" in text for text in wire.sent[:1])
    assert "1999" not in str(wire.sent)


@pytest.mark.parametrize("base", ["https://api.cohere.com/v1", "https://api.cohere.com/v2"])
def test_rank_fields_are_the_only_metadata_sent(face: Face, wire: Wire, base: str) -> None:
    items = [face.item(text, title=text, owner="confidential") for text in ITEMS]
    face.rerank(face.make(wire, rank_fields=["title"], api_base=base), items)
    assert b"0.9" in wire.requests[0].content
    assert b"confidential" not in wire.requests[0].content


@pytest.mark.parametrize("model", [COHERE, NVIDIA, LOCAL])
def test_rank_fields_ignore_other_metadata(face: Face, wire: Wire, model: str) -> None:
    items = [face.item(text, title=text, image="cover.png", seen=object()) for text in ITEMS]
    adapter = face.make(wire, model=model, rank_fields=["title"], api_base=None if model == NVIDIA else "http://x/v1")
    assert len(face.rerank(adapter, items)) == 3


def test_text_fn_replaces_the_text(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, text_fn=lambda item: f"title {item.metadata['n']}")
    found = face.rerank(adapter, [face.item("p", n=1), face.item("q", n=2)])
    assert [text for text, _ in face.pairs(found)] == ["q", "p"]
    assert wire.sent == ["title 1", "title 2"]


def test_text_fn_can_add_an_image(face: Face, wire: Wire) -> None:
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
def test_local_model_is_fused_unless_switched_off(face: Face, fields: dict[str, Any], fused: bool) -> None:
    found = face.ranked(face.make(model=LOCAL, api_key=None, **fields), APPLES, "apple")
    plain = Reranker(LOCAL).rerank("apple", APPLES, fuse="rrf" if fused else None)
    assert found == [(APPLES[index], score) for index, score in plain.results.pairs()]
    assert (max(score or 0 for _, score in found) < 0.04) is fused


@pytest.mark.parametrize("fields", [{}, {"fuse": "auto"}, {"fuse": None}], ids=str)
def test_server_is_not_fused_by_default(face: Face, wire: Wire, fields: dict[str, Any]) -> None:
    assert face.ranked(face.make(wire, **fields), ITEMS) == RANKED


def test_fuse_merges_with_the_incoming_order(face: Face, wire: Wire) -> None:
    found = face.ranked(face.make(wire, fuse="rrf", top_n=2), ["p 0.1", "q 0.2", "r 0.9"])
    assert found == [("p 0.1", _rrf(3, 1)), ("r 0.9", _rrf(1, 3))]
    assert "top_n" not in wire.body


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
def test_image_type_is_detected_from_its_first_bytes(start: bytes, kind: str) -> None:
    data = base64.b64encode(start + bytes(8)).decode()
    assert image_data_url(data, None) == f"data:{kind};base64,{data}"
    assert image_data_url(data, "image/x-own") == f"data:image/x-own;base64,{data}"
    assert image_data_url(f"data:image/x;base64,{data}", None) == f"data:image/x;base64,{data}"


@pytest.mark.parametrize(
    "given",
    [iter, lambda items: filter(None, items), lambda items: dict(enumerate(items)).values(), tuple],
    ids=["iterator", "filter", "values", "tuple"],
)
def test_iterable_is_read_once(face: Face, wire: Wire, given: Callable[[list[Any]], Any]) -> None:
    adapter = face.make(wire)
    items = given([face.item(text) for text in ITEMS])
    found = _rerank_iterable(face, adapter, items)
    assert face.pairs(found) == RANKED
    assert wire.sent == ITEMS
    assert _rerank_iterable(face, adapter, iter(())) == []
    assert len(wire.requests) == 1


def _rerank_iterable(face: Face, adapter: Any, items: Any) -> Any:
    if face.asynchronous:
        return asyncio.run(_arerank_iterable(face, adapter, items))
    return (
        adapter.compress_documents(items, QUERY)
        if face.framework == "langchain"
        else adapter.postprocess_nodes(items, query_str=QUERY)
    )


async def _arerank_iterable(face: Face, adapter: Any, items: Any) -> Any:
    if face.framework == "langchain":
        return await adapter.acompress_documents(items, QUERY)
    return await adapter.apostprocess_nodes(items, query_str=QUERY)


def test_metadata_reaches_hooks(face: Face, wire: Wire) -> None:
    calls: list[CallEvent] = []
    adapter = face.make(wire, metadata={"team": "search", "page": 1}, hooks=[calls.append])
    face.rerank(adapter, ITEMS)
    with using_attributes(metadata={"page": 2}):
        face.rerank(adapter, ITEMS)
    assert [event.metadata for event in calls] == [{"team": "search", "page": 1}, {"team": "search", "page": 2}]
    assert adapter.model_dump()["metadata"] == {"team": "search", "page": 1}
