"""The postprocessor in LlamaIndex's query engines, evaluators and workflows."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from tests.frameworks.listeners import Events
from tests.support.frameworks import Face, Wire, face_fixture, faces
from tests.support.loopback import MAX_WAIT

from anyrerank.llama_index import AnyRerank

FACES = faces("llama_index")
face = face_fixture("llama_index")
TEXTS = ["ripe apples 0.1", "green apples 0.9", "apple pie 0.5", "a train to Rome 0.7", "the night train 0.3"]


def _found() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, id_=text), score=0.8) for text in TEXTS]


class Counts(BaseEmbedding):
    """Word counts, hashed into a few dimensions."""

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
    """LlamaIndex looks for a language model even if none is used."""
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
def test_query_engine_reranks_in_its_span(face: Face, wire: Wire, events: Events, spans: SimpleSpanHandler) -> None:
    engine = _engine(face.make(wire, top_n=2))
    assert _query(face, engine, "apples") == ["green apples 0.9", "a train to Rome 0.7"]
    assert (sorted(wire.sent), wire.body["query"]) == (sorted(TEXTS), "apples")
    assert events.names == ["ReRankStartEvent", "RerankUsageEvent"]
    own = "AnyRerank._apostprocess_nodes" if face.asynchronous else "AnyRerank._postprocess_nodes"
    (span,) = [span for span in spans.completed_spans if span.id_.startswith(own)]
    assert (span.parent_id or "").rsplit("-", 5)[0] in {"RetrieverQueryEngine._query", "RetrieverQueryEngine._aquery"}


@pytest.mark.usefixtures("_no_llm")
def test_as_query_engine_reranks(face: Face, wire: Wire) -> None:
    engine = _index().as_query_engine(
        llm=MockLLM(),
        response_mode=ResponseMode.NO_TEXT,
        similarity_top_k=5,
        node_postprocessors=[face.make(wire, top_n=1)],
    )
    assert isinstance(engine, RetrieverQueryEngine)
    assert _query(face, engine, "apples") == ["green apples 0.9"]


@pytest.mark.usefixtures("_no_llm")
def test_reranker_in_two_engines_reports_to_the_last(face: Face, wire: Wire) -> None:
    first, last = (LlamaDebugHandler(print_trace_on_end=False) for _ in range(2))
    reranker = face.make(wire)
    face.rerank(reranker, _found())
    engines = [_engine(reranker, CallbackManager([handler])) for handler in (first, last)]
    for engine in engines:
        _query(face, engine, "apples")
    assert len(first.get_event_pairs(CBEventType.RERANKING)) == 0
    assert len(last.get_event_pairs(CBEventType.RERANKING)) == 2


async def test_retriever_evaluator_reranks_inside_a_running_loop(wire: Wire) -> None:
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
async def test_workflow_step_is_the_parent_span(wire: Wire, spans: SimpleSpanHandler) -> None:
    flow = _Flow(timeout=MAX_WAIT)
    flow.reranker = FACES[1].make(wire, top_n=1)
    assert await flow.run(query="apples") == ["green apples 0.9"]
    parents = {span.id_: span.parent_id for span in spans.completed_spans}
    (span_id,) = [span for span in parents if span.startswith("AnyRerank._apostprocess_nodes")]
    above = []
    while (parent := parents.get(span_id)) is not None:
        above.append(parent)
        span_id = parent
    assert [name.rsplit("-", 5)[0] for name in above][-2:] == ["_Flow.rerank", "_Flow.run"]
