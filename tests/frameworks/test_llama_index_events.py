"""The span and the events of each LlamaIndex rerank."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from tests.frameworks.listeners import Events
from tests.support.frameworks import LOCAL, Face, Wire, face_fixture, faces, refusing
from tests.support.harness import KEY, QUERY
from tests.support.loopback import MAX_WAIT

from anyrerank import GuardrailRaisedError, InternalServerError, Reranker
from anyrerank.llama_index import RerankUsageEvent

FACES = faces("llama_index")
face = face_fixture("llama_index")
TEXTS = ["ripe apples 0.1", "green apples 0.9", "apple pie 0.5", "a train to Rome 0.7", "the night train 0.3"]


def _named(spans: list[Any]) -> list[str]:
    """Names of spans, without their ids."""
    return [span.id_.rsplit("-", 5)[0] for span in spans]


def _found() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, id_=text), score=0.8) for text in TEXTS]


def test_span_has_the_events_of_the_call(face: Face, wire: Wire, events: Events, spans: SimpleSpanHandler) -> None:
    items = _found()
    ranked = face.rerank(face.make(wire, top_n=2), items)
    own = "AnyRerank._apostprocess_nodes" if face.asynchronous else "AnyRerank._postprocess_nodes"
    assert _named(spans.completed_spans).count(own) == 1
    (span,) = [span for span in spans.completed_spans if span.id_.startswith(own)]
    assert events.names == ["ReRankStartEvent", "RerankUsageEvent"]
    assert {event.span_id for event in events.ours} == {span.id_}
    start, end = events.ours
    assert isinstance(start.query, QueryBundle)
    assert (start.query.query_str, start.top_n, start.model_name) == (QUERY, 2, "cohere/rerank-v3.5")
    assert start.nodes == items
    assert end.nodes == ranked
    assert spans.dropped_spans == []
    assert not spans.open_spans


def test_events_hold_a_copy_of_the_list(wire: Wire, events: Events) -> None:
    items = _found()
    FACES[0].make(wire).postprocess_nodes(items, query_str=QUERY)
    items.clear()
    assert len(events.ours[0].nodes) == len(TEXTS)


@pytest.mark.parametrize(("top_n", "shown"), [(None, 5), (99, 99), (1, 1)])
def test_events_have_an_integer_top_n(face: Face, wire: Wire, events: Events, top_n: int | None, shown: int) -> None:
    adapter = face.make(wire, top_n=top_n)
    debug = LlamaDebugHandler(print_trace_on_end=False)
    adapter.callback_manager = CallbackManager([debug])
    assert len(face.rerank(adapter, _found())) == min(top_n or 5, 5)
    assert events.ours[0].top_n == shown
    (pair,) = debug.get_event_pairs(CBEventType.RERANKING)
    payload = pair[0].payload or {}
    assert (type(payload[EventPayload.TOP_K]), payload[EventPayload.TOP_K]) == (int, shown)


def test_events_have_the_top_n_of_a_ready_reranker(face: Face, wire: Wire, events: Events) -> None:
    client = wire.client(asynchronous=face.asynchronous)
    debug = LlamaDebugHandler(print_trace_on_end=False)
    ready = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, top_n=1)
    adapter = face.make(reranker=ready, callback_manager=CallbackManager([debug]))
    assert len(face.rerank(adapter, _found())) == 1
    ((start, _),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert (events.ours[0].top_n, (start.payload or {})[EventPayload.TOP_K]) == (1, 1)


def _forbid(query: str) -> str:
    raise GuardrailRaisedError("not this one")


def test_events_of_a_refused_query_do_not_hold_it(face: Face, wire: Wire, events: Events) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    adapter = face.make(wire, guardrails=[_forbid], callback_manager=CallbackManager([debug]))
    with pytest.raises(GuardrailRaisedError, match="not this one"):
        face.rerank(adapter, _found())
    assert events.names == ["ReRankStartEvent", "ExceptionEvent"]
    assert events.ours[0].query.query_str == ""
    ((start, end),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert (start.payload or {})[EventPayload.QUERY_STR] == ""
    assert EventPayload.EXCEPTION in (end.payload or {})
    assert wire.requests == []


def test_events_name_a_local_model(face: Face, events: Events) -> None:
    face.rerank(face.make(model=LOCAL, api_key=None), _found(), "train")
    assert events.ours[0].model_name == LOCAL


def test_callback_event_has_nodes_query_and_model(face: Face, wire: Wire) -> None:
    items, debug = _found(), LlamaDebugHandler(print_trace_on_end=False)
    adapter = face.make(wire, top_n=2, callback_manager=CallbackManager([debug]))
    ranked = face.rerank(adapter, items)
    ((start, end),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert start.payload == {
        EventPayload.NODES: items,
        EventPayload.MODEL_NAME: "cohere/rerank-v3.5",
        EventPayload.QUERY_STR: QUERY,
        EventPayload.TOP_K: 2,
    }
    assert end.payload == {EventPayload.NODES: ranked}


class _Counting(CallbackManager):
    """Counts the events that it would have to remember."""

    count = 0

    def on_event_start(self, *args: Any, **kwargs: Any) -> str:
        self.count += 1
        return super().on_event_start(*args, **kwargs)


@pytest.mark.parametrize("handlers", [0, 1])
def test_manager_without_handlers_gets_no_event(face: Face, wire: Wire, handlers: int) -> None:
    manager = _Counting([LlamaDebugHandler(print_trace_on_end=False) for _ in range(handlers)])
    face.rerank(face.make(wire, callback_manager=manager), _found())
    assert manager.count == handlers


def test_end_event_has_the_usage(face: Face, wire: Wire, events: Events) -> None:
    face.rerank(face.make(wire), _found())
    usage = events.ours[1]
    assert isinstance(usage, RerankUsageEvent)
    assert (isinstance(usage, ReRankEndEvent), usage.class_name()) == (True, "ReRankEndEvent")
    assert (
        usage.usage.items()
        >= {
            "provider": "cohere",
            "model": "rerank-v3.5",
            "search_units": 1,
            "attempts": 1,
            "request_id": "request-1",
            "degraded": False,
        }.items()
    )
    assert usage.usage["total_cost"] == 0.002
    assert "apple" not in repr(usage.usage)


def test_end_event_of_a_degraded_call_says_so(face: Face, events: Events) -> None:
    ranked = face.rerank(face.make(Wire(refusing(503)), on_error="passthrough"), _found())
    assert [item.node.node_id for item in ranked] == TEXTS
    assert events.names == ["ReRankStartEvent", "RerankUsageEvent"]
    assert events.ours[1].usage["degraded"] is True


def test_empty_list_fires_no_events(face: Face, wire: Wire, events: Events) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    assert face.rerank(face.make(wire, callback_manager=CallbackManager([debug])), []) == []
    assert (events.ours, debug.get_events(), wire.requests) == ([], [], [])


def test_failure_fires_an_event_and_drops_the_span(face: Face, events: Events, spans: SimpleSpanHandler) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    adapter = face.make(Wire(refusing(503)), callback_manager=CallbackManager([debug]))
    with pytest.raises(InternalServerError) as caught:
        face.rerank(adapter, _found())
    assert events.names == ["ReRankStartEvent", "ExceptionEvent"]
    assert events.ours[1].exception is caught.value
    ((_, end),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert end.payload == {EventPayload.EXCEPTION: caught.value}
    own = "AnyRerank._apostprocess_nodes" if face.asynchronous else "AnyRerank._postprocess_nodes"
    assert own in _named(spans.dropped_spans)
    assert not spans.open_spans


@pytest.mark.parametrize("query", [None, ""], ids=["none", "blank"])
def test_wrong_query_fires_no_start_without_an_end(face: Face, wire: Wire, events: Events, query: str | None) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    adapter = face.make(wire, callback_manager=CallbackManager([debug]))
    with pytest.raises(ValueError if query is None else Exception, match="query"):
        face.rerank(adapter, _found(), query)  # type: ignore[arg-type]
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) in {0, 1}
    assert all(len(pair) == 2 for pair in debug.get_event_pairs(CBEventType.RERANKING))
    assert events.names in ([], ["ReRankStartEvent", "ExceptionEvent"])


async def test_cancelled_call_ends_events_and_span(events: Events, spans: SimpleSpanHandler) -> None:
    arrived, debug = asyncio.Event(), LlamaDebugHandler(print_trace_on_end=False)

    async def never(request: httpx.Request) -> httpx.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    client = httpx.AsyncClient(transport=httpx.MockTransport(never))
    adapter = FACES[1].make(http_client=client, callback_manager=CallbackManager([debug]))
    task = asyncio.create_task(adapter.apostprocess_nodes(_found(), query_str=QUERY))
    await asyncio.wait_for(arrived.wait(), MAX_WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert events.names == ["ReRankStartEvent", "ExceptionEvent"]
    assert isinstance(events.ours[1].exception, asyncio.CancelledError)
    assert [len(pair) for pair in debug.get_event_pairs(CBEventType.RERANKING)] == [2]
    assert not [span for span in spans.open_spans if span.startswith("AnyRerank._apostprocess_nodes")]
