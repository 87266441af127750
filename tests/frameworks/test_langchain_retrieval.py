"""The LangChain compressor and retriever with retrievers, compressor pipelines and tools."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever, EnsembleRetriever, MergerRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.embeddings import Embeddings
from langchain_core.prompts import PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests
from tests.support.frameworks import LOCAL, Face, Trees, Wire, face_fixture, refusing

from anyrerank import BadRequestError, GuardrailRaisedError
from anyrerank.hooks import CallEvent
from anyrerank.langchain import AnyRerank, RerankRetriever

face = face_fixture("langchain")
TEXTS = ["ripe apples 0.1", "green apples 0.9", "apple pie 0.5", "a train to Rome 0.7", "the night train 0.3"]


class Counts(Embeddings):
    """Word counts, hashed into a few dimensions."""

    def embed_query(self, text: str) -> list[float]:
        vector = [1e-6] * 64
        for word in text.lower().split():
            vector[zlib.crc32(word.encode()) % 64] += 1.0
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def _store() -> InMemoryVectorStore:
    store = InMemoryVectorStore(Counts())
    store.add_documents([Document(text, id=str(n), metadata={"n": n}) for n, text in enumerate(TEXTS)])
    return store


def _base(k: int = 4) -> BaseRetriever:
    return _store().as_retriever(search_kwargs={"k": k})


def _invoke(face: Face, runnable: Any, value: Any, **options: Any) -> Any:
    if face.asynchronous:
        return asyncio.run(runnable.ainvoke(value, **options))
    return runnable.invoke(value, **options)


def _scores(documents: list[Document]) -> list[float | None]:
    return [document.metadata["relevance_score"] for document in documents]


def test_compression_retriever_returns_the_best(face: Face, wire: Wire) -> None:
    retriever = ContextualCompressionRetriever(base_compressor=face.make(wire, top_n=2), base_retriever=_base(3))
    found = _invoke(face, retriever, "green apples")
    candidates = {document.page_content for document in _base(3).invoke("green apples")}
    assert set(wire.sent) == candidates
    assert len(wire.sent) == 3
    assert _scores(found) == sorted((float(text[-3:]) for text in candidates), reverse=True)[:2]
    assert [TEXTS[int(document.id)] for document in found] == [document.page_content for document in found]


def test_compression_retriever_does_not_change_the_store(face: Face, wire: Wire) -> None:
    store = _store()
    retriever = ContextualCompressionRetriever(base_compressor=face.make(wire), base_retriever=store.as_retriever())
    first = _invoke(face, retriever, "apples")
    second = _invoke(face, retriever, "apples")
    assert first == second
    assert all("relevance_score" not in document.metadata for document in store.similarity_search("apples", k=5))


def test_retriever_with_no_documents_sends_nothing(face: Face, wire: Wire) -> None:
    empty = InMemoryVectorStore(Counts()).as_retriever()
    for retriever in (
        ContextualCompressionRetriever(base_compressor=face.make(wire), base_retriever=empty),
        RerankRetriever(reranker=face.make(wire), base_retriever=empty),
    ):
        assert _invoke(face, retriever, "apples") == []
    assert wire.requests == []


class _WithoutTrains(BaseDocumentTransformer):
    def transform_documents(self, documents: Any, **kwargs: Any) -> list[Document]:
        return [document for document in documents if "train" not in document.page_content]


def test_pipeline_chains_compressors(face: Face, wire: Wire) -> None:
    last = face.make(model=LOCAL, fuse=None, metadata_key="lexical_score", api_key=None, top_n=1)
    pipeline = DocumentCompressorPipeline(transformers=[_WithoutTrains(), face.make(wire, top_n=2), last])
    retriever = ContextualCompressionRetriever(base_compressor=pipeline, base_retriever=_base(5))
    (found,) = _invoke(face, retriever, "pie")
    assert sorted(wire.sent) == ["apple pie 0.5", "green apples 0.9", "ripe apples 0.1"]
    assert found.page_content == "apple pie 0.5"
    assert found.metadata["relevance_score"] == 0.5
    assert found.metadata["lexical_score"] > 0


def test_pipeline_passes_callbacks_on(face: Face, wire: Wire) -> None:
    trees = Trees()
    pipeline = DocumentCompressorPipeline(transformers=[face.make(wire), face.make(wire)])
    retriever = ContextualCompressionRetriever(base_compressor=pipeline, base_retriever=_base())
    _invoke(face, retriever, "apples", config={"callbacks": [trees]})
    assert [run.name for run in trees.root.child_runs] == ["VectorStoreRetriever", "AnyRerank", "AnyRerank"]


def test_merger_retriever_with_dedupe_sends_a_duplicate_once(face: Face, wire: Wire) -> None:
    merged = MergerRetriever(retrievers=[_base(2), _base(2)])
    retriever = RerankRetriever(base_retriever=merged, reranker=face.make(wire, dedupe=True))
    found = _invoke(face, retriever, "night train")
    assert (len(wire.sent), len(found)) == (2, 4)
    assert _scores(found) == [0.7, 0.7, 0.3, 0.3]


def test_ensemble_retriever_merges_by_id(face: Face, wire: Wire) -> None:
    ensemble = EnsembleRetriever(retrievers=[_base(5), _base(5)], weights=[0.5, 0.5], id_key="n")
    retriever = RerankRetriever(base_retriever=ensemble, reranker=face.make(wire), top_n=3)
    assert _scores(_invoke(face, retriever, "apples")) == [0.9, 0.7, 0.5]
    over = EnsembleRetriever(retrievers=[retriever, retriever], weights=[0.5, 0.5], id_key="n")
    assert [document.metadata["n"] for document in _invoke(face, over, "apples")] == [1, 3, 2]


def test_retriever_top_n_of_a_call_wins(face: Face, wire: Wire) -> None:
    retriever = RerankRetriever(base_retriever=_base(5), reranker=face.make(wire, top_n=4), top_n=2)
    assert _scores(_invoke(face, retriever, "apples")) == [0.9, 0.7]
    assert _scores(_invoke(face, retriever, "apples", top_n=1)) == [0.9]
    assert _scores(_invoke(face, retriever, "apples", top_n=99)) == [0.9, 0.7, 0.5, 0.3, 0.1]
    assert [body["top_n"] for body in wire.bodies] == [2, 1, 5]


def test_retriever_uses_the_top_n_of_the_reranker(face: Face, wire: Wire) -> None:
    assert len(_invoke(face, RerankRetriever(base_retriever=_base(5), reranker=face.make(wire, top_n=4)), "a")) == 4
    assert len(_invoke(face, RerankRetriever(base_retriever=_base(5), reranker=face.make(wire)), "a")) == 5


@pytest.mark.parametrize("top_n", [0, -1])
def test_retriever_refuses_a_wrong_top_n(face: Face, wire: Wire, top_n: int) -> None:
    with pytest.raises(BadRequestError, match="top_n"):
        RerankRetriever(base_retriever=_base(), reranker=face.make(wire), top_n=top_n)
    with pytest.raises(BadRequestError, match="top_n"):
        _invoke(face, RerankRetriever(base_retriever=_base(), reranker=face.make(wire)), "apples", top_n=top_n)
    assert wire.requests == []


class _Asked(BaseRetriever):
    """Keeps the arguments of each call."""

    seen: list[dict[str, Any]] = []  # noqa: RUF012  # pydantic copies it

    def _get_relevant_documents(self, query: str, *, run_manager: Any, **kwargs: Any) -> list[Document]:
        self.seen.append({"query": query, **kwargs})
        return [Document(text) for text in TEXTS]

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any, **kwargs: Any) -> list[Document]:
        return self._get_relevant_documents(query, run_manager=run_manager, **kwargs)


def test_retriever_passes_other_arguments_on(face: Face, wire: Wire) -> None:
    base = _Asked()
    retriever = RerankRetriever(base_retriever=base, reranker=face.make(wire))
    assert len(_invoke(face, retriever, "apples", top_n=2, filter={"n": 1})) == 2
    assert base.seen == [{"query": "apples", "filter": {"n": 1}}]
    store_retriever = RerankRetriever(base_retriever=_base(5), reranker=face.make(wire))
    assert len(_invoke(face, store_retriever, "apples", k=3)) == 3


def test_retriever_takes_the_options_of_a_call(face: Face) -> None:
    events: list[CallEvent] = []
    wire = Wire()
    retriever = RerankRetriever(base_retriever=_base(5), reranker=face.make(wire))
    found = _invoke(face, retriever, "green apples", score_threshold=0.5, hooks=[events.append], max_tokens_per_doc=512)
    assert _scores(found) == [0.9, 0.7, 0.5]
    assert len(events) == 1
    assert wire.body["max_tokens_per_doc"] == 512
    broken = RerankRetriever(base_retriever=_base(2), reranker=face.make(Wire(refusing(503))))
    assert _scores(_invoke(face, broken, "green apples", on_error="passthrough", num_retries=0)) == [None, None]
    with pytest.raises(BadRequestError, match="timeout must be a positive number"):
        _invoke(face, broken, "green apples", timeout=0)


class _Timed(_Asked):
    """Has a `timeout` of its own."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: Any, timeout: float = 1.0, **kwargs: Any
    ) -> list[Document]:
        return super()._get_relevant_documents(query, run_manager=run_manager, timeout=timeout, **kwargs)


def test_retriever_leaves_the_base_what_it_names(face: Face, wire: Wire) -> None:
    base = _Timed()
    retriever = RerankRetriever(base_retriever=base, reranker=face.make(wire))
    assert len(_invoke(face, retriever, "apples", timeout=0, limit=7, k=5, top_n=1)) == 1
    assert base.seen == [{"query": "apples", "timeout": 0, "limit": 7, "k": 5}]


def test_retriever_has_a_configurable_top_n(face: Face, wire: Wire) -> None:
    retriever: Any = RerankRetriever(base_retriever=_base(5), reranker=face.make(wire)).configurable_fields(
        top_n=ConfigurableField(id="n")
    )
    assert len(_invoke(face, retriever, "apples")) == 5
    assert len(_invoke(face, retriever, "apples", config={"configurable": {"n": 2}})) == 2


def test_retriever_with_a_configurable_reranker_has_a_config_schema(face: Face, wire: Wire) -> None:
    field = ConfigurableField(id="which")
    retriever = RerankRetriever(base_retriever=_base(), reranker=face.make(wire)).configurable_fields(reranker=field)
    schema = retriever.config_schema().model_json_schema()
    assert "which" in schema["$defs"]["Configurable"]["properties"]


def test_retriever_runs_are_nested(face: Face, wire: Wire) -> None:
    trees = Trees()
    retriever = RerankRetriever(base_retriever=_base(), reranker=face.make(wire), tags=["mine"])
    found = _invoke(face, retriever, "apples", config={"callbacks": [trees]})
    assert (trees.root.name, trees.root.run_type) == ("RerankRetriever", "retriever")
    assert [run.name for run in trees.root.child_runs] == ["VectorStoreRetriever", "AnyRerank"]
    assert {run.parent_run_id for run in trees.root.child_runs} == {trees.root.id}
    assert (trees.root.outputs or {})["documents"] == found


def _flaky(face: Face) -> tuple[Any, list[str]]:
    asked: list[str] = []

    def find(query: str) -> list[Document]:
        asked.append(query)
        if len(asked) == 1:
            raise ConnectionError
        return [Document(text) for text in TEXTS]

    async def afind(query: str) -> list[Document]:
        return find(query)

    return RunnableLambda(find, afind, name="find"), asked


def test_retriever_over_a_retrying_runnable(face: Face, wire: Wire) -> None:
    flaky, asked = _flaky(face)
    trees = Trees()
    retrying = flaky.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    retriever = RerankRetriever(base_retriever=retrying, reranker=face.make(wire), top_n=2)
    assert _scores(_invoke(face, retriever, "apples", config={"callbacks": [trees]})) == [0.9, 0.7]
    assert asked == ["apples", "apples"]
    assert trees.root.name == "RerankRetriever"
    assert [run.name for run in trees.root.child_runs][-1] == "AnyRerank"
    assert {run.parent_run_id for run in trees.root.child_runs} == {trees.root.id}


def test_retriever_over_a_configured_retriever(face: Face, wire: Wire) -> None:
    trees = Trees()
    base = _base(5).with_config(run_name="my store", tags=["mine"])
    retriever = RerankRetriever(base_retriever=base, reranker=face.make(wire))
    assert len(_invoke(face, retriever, "apples", config={"callbacks": [trees]})) == 5
    assert len(_invoke(face, retriever, "apples", k=2)) == 2
    assert [run.name for run in trees.root.child_runs] == ["my store", "AnyRerank"]
    assert "mine" in (trees.root.child_runs[0].tags or [])


def test_retriever_over_a_runnable_that_returns_no_list(face: Face, wire: Wire) -> None:
    base: RunnableLambda[str, Any] = RunnableLambda(lambda query: dict(enumerate(_base(5).invoke(query))).values())
    assert _scores(_invoke(face, RerankRetriever(base_retriever=base, reranker=face.make(wire)), "a"))[0] == 0.9


def test_retriever_refuses_a_base_that_is_no_runnable(face: Face, wire: Wire) -> None:
    with pytest.raises(BadRequestError, match="base_retriever"):
        RerankRetriever(base_retriever=_store(), reranker=face.make(wire))  # type: ignore[arg-type]


def _forbid(query: str) -> str:
    raise GuardrailRaisedError("not this one")


def test_retriever_does_not_retrieve_a_refused_query(face: Face, wire: Wire) -> None:
    base, trees = _Asked(), Trees()
    calls: list[CallEvent] = []
    reranker = face.make(wire, guardrails=[_forbid], hooks=[calls.append])
    with pytest.raises(GuardrailRaisedError, match="not this one"):
        _invoke(face, RerankRetriever(base_retriever=base, reranker=reranker), "secret", config={"callbacks": [trees]})
    assert (base.seen, wire.requests) == ([], [])
    assert [type(event.error) for event in calls] == [GuardrailRaisedError]
    assert [(run.name, run.inputs["query"]) for run in trees.root.child_runs] == [("AnyRerank", "")]
    assert "not this one" in (trees.root.child_runs[0].error or "")


def test_retriever_ends_its_run_when_reranking_fails(face: Face) -> None:
    trees = Trees()
    retriever = RerankRetriever(base_retriever=_base(), reranker=face.make(Wire(refusing(401))))
    with pytest.raises(Exception, match="refused by the test"):
        _invoke(face, retriever, "apples", config={"callbacks": [trees]})
    assert [bool(run.error) for run in (trees.root, *trees.root.child_runs)] == [True, False, True]


@pytest.mark.parametrize("status", [200, 503])
def test_retriever_works_as_a_tool(face: Face, status: int) -> None:
    wire = Wire() if status == 200 else Wire(refusing(status))
    retriever = RerankRetriever(base_retriever=_base(3), reranker=face.make(wire, top_n=2, on_error="passthrough"))
    tool = create_retriever_tool(
        retriever,
        "search",
        "Searches.",
        document_prompt=PromptTemplate.from_template("{relevance_score}: {page_content}"),
        response_format="content_and_artifact",
    )
    call = {"name": "search", "args": {"query": "green apples"}, "id": "call-1", "type": "tool_call"}
    message = _invoke(face, tool, call)
    assert len(message.artifact) == 2
    assert message.content == "\n\n".join(
        f"{document.metadata['relevance_score']}: {document.page_content}" for document in message.artifact
    )
    assert _scores(message.artifact) == ([0.9, 0.7] if status == 200 else [None, None])
    assert [document.metadata.get("degraded", False) for document in message.artifact] == [status != 200] * 2


class TestRetriever(RetrieversIntegrationTests):
    """LangChain's conformance tests for retrievers."""

    @property
    def retriever_constructor(self) -> type[RerankRetriever]:
        return RerankRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"base_retriever": _base(5), "reranker": AnyRerank(model=LOCAL)}

    @property
    def retriever_query_example(self) -> str:
        return "green apples"

    @property
    def num_results_arg_name(self) -> str:
        return "top_n"
