"""The spans and events of a LlamaIndex rerank, and the postprocessor inside LlamaIndex's engines."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers.base import BaseEventHandler
from pydantic import Field
from tests.support.frameworks import LOCAL, Face, Wire, refusing
from tests.support.harness import KEY, QUERY
from tests.support.loopback import PATIENCE

from anyrerank import GuardrailRaisedError, InternalServerError, Reranker
from anyrerank.llama_index import AnyRerank, RerankUsageEvent

FACES = [Face("llama_index", asynchronous=False), Face("llama_index", asynchronous=True)]
TEXTS = ["ripe apples 0.1", "green apples 0.9", "apple pie 0.5", "a train to Rome 0.7", "the night train 0.3"]


@pytest.fixture(params=FACES, ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


class _Events(BaseEventHandler):
    seen: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "_Events"

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.seen.append(event)

    @property
    def ours(self) -> list[Any]:
        kinds = ReRankStartEvent | ReRankEndEvent | ExceptionEvent
        return [event for event in self.seen if isinstance(event, kinds)]

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.ours]


@pytest.fixture
def events() -> Iterator[_Events]:
    handler, root = _Events(), get_dispatcher()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def spans() -> Iterator[SimpleSpanHandler]:
    handler, root = SimpleSpanHandler(), get_dispatcher()
    root.add_span_handler(handler)
    yield handler
    root.span_handlers.remove(handler)


def _named(spans: list[Any]) -> list[str]:
    """Names of spans, without their ids."""
    return [span.id_.rsplit("-", 5)[0] for span in spans]


def _found() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, id_=text), score=0.8) for text in TEXTS]


def test_a_span_and_its_events(face: Face, wire: Wire, events: _Events, spans: SimpleSpanHandler) -> None:
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


def test_events_do_not_share_the_callers_list(wire: Wire, events: _Events) -> None:
    items = _found()
    FACES[0].make(wire).postprocess_nodes(items, query_str=QUERY)
    items.clear()
    assert len(events.ours[0].nodes) == len(TEXTS)


@pytest.mark.parametrize(("top_n", "shown"), [(None, 5), (99, 99), (1, 1)])
def test_top_n_of_the_events_is_a_number(
    face: Face, wire: Wire, events: _Events, top_n: int | None, shown: int
) -> None:
    adapter = face.make(wire, top_n=top_n)
    debug = LlamaDebugHandler(print_trace_on_end=False)
    adapter.callback_manager = CallbackManager([debug])
    assert len(face.rerank(adapter, _found())) == min(top_n or 5, 5)
    assert events.ours[0].top_n == shown
    (pair,) = debug.get_event_pairs(CBEventType.RERANKING)
    payload = pair[0].payload or {}
    assert (type(payload[EventPayload.TOP_K]), payload[EventPayload.TOP_K]) == (int, shown)


def test_the_top_n_of_a_ready_reranker_is_that_of_the_events(face: Face, wire: Wire, events: _Events) -> None:
    client = wire.client(asynchronous=face.asynchronous)
    debug = LlamaDebugHandler(print_trace_on_end=False)
    ready = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, top_n=1)
    adapter = face.make(reranker=ready, callback_manager=CallbackManager([debug]))
    assert len(face.rerank(adapter, _found())) == 1
    ((start, _),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert (events.ours[0].top_n, (start.payload or {})[EventPayload.TOP_K]) == (1, 1)


def _forbid(query: str) -> str:
    raise GuardrailRaisedError("not this one")


def test_a_query_that_a_guardrail_stops_is_not_in_its_events(face: Face, wire: Wire, events: _Events) -> None:
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


def test_the_local_model_has_a_name_too(face: Face, events: _Events) -> None:
    face.rerank(face.make(model=LOCAL, api_key=None), _found(), "train")
    assert events.ours[0].model_name == LOCAL


def test_the_callback_event(face: Face, wire: Wire) -> None:
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


def test_usage_is_an_event(face: Face, wire: Wire, events: _Events) -> None:
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


def test_a_degraded_call_says_so(face: Face, events: _Events) -> None:
    ranked = face.rerank(face.make(Wire(refusing(503)), on_error="passthrough"), _found())
    assert [item.node.node_id for item in ranked] == TEXTS
    assert events.names == ["ReRankStartEvent", "RerankUsageEvent"]
    assert events.ours[1].usage["degraded"] is True


def test_no_events_for_no_nodes(face: Face, wire: Wire, events: _Events) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    assert face.rerank(face.make(wire, callback_manager=CallbackManager([debug])), []) == []
    assert (events.ours, debug.get_events(), wire.requests) == ([], [], [])


def test_a_failure_is_an_event_and_drops_the_span(face: Face, events: _Events, spans: SimpleSpanHandler) -> None:
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
def test_a_start_is_never_without_an_end(face: Face, wire: Wire, events: _Events, query: str | None) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    adapter = face.make(wire, callback_manager=CallbackManager([debug]))
    with pytest.raises(ValueError if query is None else Exception, match="query"):
        face.rerank(adapter, _found(), query)  # type: ignore[arg-type]
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) in {0, 1}
    assert all(len(pair) == 2 for pair in debug.get_event_pairs(CBEventType.RERANKING))
    assert events.names in ([], ["ReRankStartEvent", "ExceptionEvent"])


async def test_a_cancelled_call_is_over_for_everyone(events: _Events, spans: SimpleSpanHandler) -> None:
    arrived, debug = asyncio.Event(), LlamaDebugHandler(print_trace_on_end=False)

    async def never(request: httpx.Request) -> httpx.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    client = httpx.AsyncClient(transport=httpx.MockTransport(never))
    adapter = FACES[1].make(http_client=client, callback_manager=CallbackManager([debug]))
    task = asyncio.create_task(adapter.apostprocess_nodes(_found(), query_str=QUERY))
    await asyncio.wait_for(arrived.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert events.names == ["ReRankStartEvent", "ExceptionEvent"]
    assert isinstance(events.ours[1].exception, asyncio.CancelledError)
    assert [len(pair) for pair in debug.get_event_pairs(CBEventType.RERANKING)] == [2]
    assert not [span for span in spans.open_spans if span.startswith("AnyRerank._apostprocess_nodes")]


class Counts(BaseEmbedding):
    """How often each word occurs, in a small space of hashes."""

    def _get_text_embedding(self, text: str) -> list[float]:
        vector = [1e-6] * 64
        for word in text.lower().split():
            vector[zlib.crc32(word.encode()) % 64] += 1.0
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


@pytest.fixture
def _no_llm(monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaIndex looks for a language model even where none is asked anything."""
    monkeypatch.setattr(Settings, "_llm", MockLLM())


def _index() -> VectorStoreIndex:
    return VectorStoreIndex(nodes=[TextNode(text=text, id_=text) for text in TEXTS], embed_model=Counts())


def _engine(reranker: AnyRerank, manager: CallbackManager | None = None) -> RetrieverQueryEngine:
    return RetrieverQueryEngine.from_args(
        _index().as_retriever(similarity_top_k=5),
        llm=MockLLM(),
        response_mode=ResponseMode.NO_TEXT,
        node_postprocessors=[reranker],
        callback_manager=manager,
    )


def _query(face: Face, engine: RetrieverQueryEngine, text: str) -> list[str]:
    response = asyncio.run(engine.aquery(text)) if face.asynchronous else engine.query(text)
    return [item.node.node_id for item in response.source_nodes]


@pytest.mark.usefixtures("_no_llm")
def test_inside_a_query_engine(face: Face, wire: Wire, events: _Events, spans: SimpleSpanHandler) -> None:
    engine = _engine(face.make(wire, top_n=2))
    assert _query(face, engine, "apples") == ["green apples 0.9", "a train to Rome 0.7"]
    assert (sorted(wire.sent), wire.body["query"]) == (sorted(TEXTS), "apples")
    assert events.names == ["ReRankStartEvent", "RerankUsageEvent"]
    own = "AnyRerank._apostprocess_nodes" if face.asynchronous else "AnyRerank._postprocess_nodes"
    (span,) = [span for span in spans.completed_spans if span.id_.startswith(own)]
    assert (span.parent_id or "").rsplit("-", 5)[0] in {"RetrieverQueryEngine._query", "RetrieverQueryEngine._aquery"}


@pytest.mark.usefixtures("_no_llm")
def test_as_query_engine(face: Face, wire: Wire) -> None:
    engine = _index().as_query_engine(
        llm=MockLLM(),
        response_mode=ResponseMode.NO_TEXT,
        similarity_top_k=5,
        node_postprocessors=[face.make(wire, top_n=1)],
    )
    assert isinstance(engine, RetrieverQueryEngine)
    assert _query(face, engine, "apples") == ["green apples 0.9"]


@pytest.mark.usefixtures("_no_llm")
def test_one_reranker_in_two_engines_reports_to_the_last(face: Face, wire: Wire) -> None:
    first, last = (LlamaDebugHandler(print_trace_on_end=False) for _ in range(2))
    reranker = face.make(wire)
    face.rerank(reranker, _found())
    engines = [_engine(reranker, CallbackManager([handler])) for handler in (first, last)]
    for engine in engines:
        _query(face, engine, "apples")
    assert len(first.get_event_pairs(CBEventType.RERANKING)) == 0
    assert len(last.get_event_pairs(CBEventType.RERANKING)) == 2


async def test_retriever_evaluation_calls_it_inside_a_running_loop(wire: Wire) -> None:
    evaluator = RetrieverEvaluator.from_metric_names(
        ["mrr", "hit_rate"],
        retriever=_index().as_retriever(similarity_top_k=5),
        node_postprocessors=[FACES[0].make(wire, top_n=2)],
    )
    result = await evaluator.aevaluate("apples", expected_ids=["a train to Rome 0.7"])
    assert result.retrieved_ids == ["green apples 0.9", "a train to Rome 0.7"]
    assert result.metric_vals_dict == {"mrr": 0.5, "hit_rate": 1.0}


class _Flow(Workflow):
    reranker: Any = None

    @step
    async def rerank(self, event: StartEvent) -> StopEvent:
        ranked = await self.reranker.apostprocess_nodes(_found(), query_str=event.query)
        return StopEvent(result=[item.node.node_id for item in ranked])


@pytest.mark.filterwarnings("ignore:ServiceManager is deprecated")
async def test_in_a_workflow_the_span_is_under_the_steps(wire: Wire, spans: SimpleSpanHandler) -> None:
    flow = _Flow(timeout=PATIENCE)
    flow.reranker = FACES[1].make(wire, top_n=1)
    assert await flow.run(query="apples") == ["green apples 0.9"]
    parents = {span.id_: span.parent_id for span in spans.completed_spans}
    (place,) = [span for span in parents if span.startswith("AnyRerank._apostprocess_nodes")]
    above = []
    while (parent := parents.get(place)) is not None:
        above.append(parent)
        place = parent
    assert [name.rsplit("-", 5)[0] for name in above][-2:] == ["_Flow.rerank", "_Flow.run"]
