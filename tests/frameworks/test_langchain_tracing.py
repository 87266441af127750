"""The traced run of each rerank, as LangChain's handlers, tracers and event streams get it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    CallbackManager,
    StdOutCallbackHandler,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import ConsoleCallbackHandler
from langchain_core.tracers.context import collect_runs
from tests.frameworks.listeners import Recorder, Seen
from tests.support.frameworks import Face, Trees, Wire, face_fixture, faces, refusing, well
from tests.support.harness import KEY, QUERY

from anyrerank import InternalServerError, Reranker

FACES = faces("langchain")
face = face_fixture("langchain")
DOCUMENTS = [Document("private c 0.3", id="1"), Document("private a 0.9", id="2")]
ASKED = {"query": QUERY, "documents": DOCUMENTS}


contexts_cross_tasks = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="before Python 3.11 LangChain cannot pass a run on to a new task"
)


class AsyncRecorder(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.seen = Seen()

    async def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.seen.note("start", {"inputs": inputs, **kwargs})

    async def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.seen.note("end", {"outputs": outputs, **kwargs})

    async def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        self.seen.note(name, {"data": data, **kwargs})


def _call(face: Face, adapter: Any, callbacks: Any = None) -> Any:
    if face.asynchronous:
        return asyncio.run(adapter.acompress_documents(DOCUMENTS, QUERY, callbacks))
    return adapter.compress_documents(DOCUMENTS, QUERY, callbacks)


def _invoke(face: Face, runnable: Any, value: Any, config: Any = None) -> Any:
    return asyncio.run(runnable.ainvoke(value, config)) if face.asynchronous else runnable.invoke(value, config)


HANDED: list[Any] = [
    pytest.param(lambda handler: [handler], id="list"),
    pytest.param(lambda handler: CallbackManager([handler], [handler]), id="manager"),
    pytest.param(lambda handler: AsyncCallbackManager([handler], [handler]), id="async-manager"),
    pytest.param(lambda handler: CallbackManager.configure([handler]), id="configured"),
]


@pytest.mark.parametrize("kind", [Recorder, AsyncRecorder])
@pytest.mark.parametrize("handed", HANDED)
def test_callbacks_are_accepted_in_every_form(
    face: Face, wire: Wire, handed: Callable[[Any], Any], kind: type[Recorder] | type[AsyncRecorder]
) -> None:
    handler = kind()
    found = _call(face, face.make(wire, top_n=1), handed(handler))
    assert [document.id for document in found] == ["2"]
    assert handler.seen.names == ["start", "anyrerank.usage", "end"]
    assert len(handler.seen.runs) == 1
    assert handler.seen.values("start")["inputs"] == ASKED
    assert handler.seen.values("end")["outputs"]["documents"] == found


@pytest.mark.parametrize("manager", [CallbackManager, AsyncCallbackManager])
def test_callback_manager_sets_the_parent_run(face: Face, wire: Wire, manager: Any) -> None:
    handler, parent = Recorder(), UUID(int=7)
    _call(face, face.make(wire), manager([handler], [handler], parent))
    assert {each[2] for each in handler.seen.calls if each[0] in {"start", "end"}} == {parent}


def test_async_manager_works_in_the_sync_method_inside_a_loop(wire: Wire) -> None:
    async def inside() -> None:
        handler = AsyncRecorder()
        FACES[0].make(wire).compress_documents(DOCUMENTS, QUERY, AsyncCallbackManager([handler], [handler]))
        assert handler.seen.names == ["start", "anyrerank.usage", "end"]

    asyncio.run(inside())


def test_call_without_callbacks_works_outside_of_a_run(face: Face, wire: Wire) -> None:
    assert len(_call(face, face.make(wire))) == 2


@contexts_cross_tasks
def test_call_without_callbacks_is_nested_under_the_current_run(face: Face, wire: Wire) -> None:
    adapter, trees = face.make(wire), Trees()

    def step(query: str) -> Any:
        return adapter.compress_documents(DOCUMENTS, query)

    async def astep(query: str) -> Any:
        return await adapter.acompress_documents(DOCUMENTS, query)

    chain: RunnableLambda[str, Any] = RunnableLambda(step, astep, name="outer")
    config = {"callbacks": [trees], "tags": ["mine"], "metadata": {"tenant": "t1"}, "run_name": "outer-run"}
    _invoke(face, chain, QUERY, config)
    (rerank,) = trees.root.child_runs
    assert (trees.root.name, rerank.name, rerank.parent_run_id) == ("outer-run", "AnyRerank", trees.root.id)
    assert {"mine", "anyrerank", "provider:cohere"} <= set(rerank.tags or [])
    assert rerank.metadata.items() >= {"tenant": "t1", "rerank_model": "cohere/rerank-v3.5"}.items()


def test_collect_runs_gets_the_run(wire: Wire) -> None:
    with collect_runs() as collected:
        FACES[0].make(wire).compress_documents(DOCUMENTS, QUERY)
    (run,) = collected.traced_runs
    assert (run.name, run.run_type, run.error) == ("AnyRerank", "chain", None)


class _Found(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return DOCUMENTS


def test_run_is_nested_under_the_compression_retriever(face: Face, wire: Wire) -> None:
    retriever = ContextualCompressionRetriever(base_compressor=face.make(wire), base_retriever=_Found())
    trees, handler = Trees(), Recorder()
    assert len(_invoke(face, retriever, QUERY, {"callbacks": [trees, handler]})) == 2
    base, rerank = trees.root.child_runs
    assert (trees.root.name, base.name, rerank.name) == ("ContextualCompressionRetriever", "_Found", "AnyRerank")
    assert rerank.parent_run_id == base.parent_run_id == trees.root.id
    assert rerank.trace_id == trees.root.id
    assert handler.seen.names.count("retriever end") == 2
    assert (handler.seen.names.count("start"), handler.seen.names.count("end")) == (1, 1)


def test_run_holds_inputs_outputs_and_usage(face: Face, wire: Wire) -> None:
    trees = Trees()
    found = _call(face, face.make(wire, top_n=1), [trees])
    run = trees.root
    assert run.inputs == ASKED
    assert run.outputs is not None
    assert run.outputs["documents"] == found
    assert (
        run.outputs["usage"].items()
        >= {
            "provider": "cohere",
            "model": "rerank-v3.5",
            "search_units": 1,
            "attempts": 1,
            "request_id": "request-1",
            "degraded": False,
        }.items()
    )
    assert run.outputs["usage"]["total_cost"] == 0.002
    assert run.tags == ["anyrerank", "provider:cohere"]
    assert run.metadata.items() >= {"rerank_model": "cohere/rerank-v3.5", "rerank_top_n": 1}.items()
    assert run.end_time is not None


def test_run_without_a_top_n_does_not_name_it(face: Face, wire: Wire) -> None:
    trees = Trees()
    _call(face, face.make(wire), [trees])
    assert "rerank_top_n" not in (trees.root.metadata or {})


def test_usage_is_a_custom_event_of_the_run(face: Face, wire: Wire) -> None:
    handler = Recorder()
    _call(face, face.make(wire), [handler])
    event = handler.seen.values("anyrerank.usage")
    assert event["data"] == handler.seen.values("end")["outputs"]["usage"]
    assert event["run_id"] == handler.seen.values("start")["run_id"]
    assert "private" not in repr(event["data"])


def test_run_of_a_degraded_call_says_so(face: Face) -> None:
    handler = Recorder()
    _call(face, face.make(Wire(refusing(503)), on_error="passthrough"), [handler])
    assert handler.seen.values("end")["outputs"]["usage"]["degraded"] is True


def test_empty_list_starts_no_run(face: Face, wire: Wire) -> None:
    handler = Recorder()
    adapter = face.make(wire)
    if face.asynchronous:
        assert asyncio.run(adapter.acompress_documents([], QUERY, [handler])) == []
    else:
        assert adapter.compress_documents([], QUERY, [handler]) == []
    assert handler.seen.calls == []


@pytest.mark.parametrize(("field", "shown"), [({}, 1), ({"top_n": 2}, 2)], ids=str)
def test_run_has_the_top_n_of_a_ready_reranker(face: Face, wire: Wire, field: dict[str, Any], shown: int) -> None:
    trees = Trees()
    client = wire.client(asynchronous=face.asynchronous)
    ready = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, top_n=1)
    found = _call(face, face.make(reranker=ready, **field), [trees])
    assert (len(found), (trees.root.metadata or {})["rerank_top_n"]) == (shown, shown)


@pytest.mark.parametrize(("trace_as", "run_type"), [("chain", "chain"), ("retriever", "retriever")])
def test_run_has_the_type_of_trace_as(face: Face, wire: Wire, trace_as: str, run_type: str) -> None:
    trees, handler = Trees(), Recorder()
    found = _call(face, face.make(wire, trace_as=trace_as), [trees, handler])
    assert trees.root.run_type == run_type
    assert (trees.root.inputs, (trees.root.outputs or {})["documents"]) == (ASKED, found)
    assert handler.seen.names == ["start", "anyrerank.usage", "end"]
    assert handler.seen.values("start").get("run_type") in {None, run_type}


def _strings(value: Any) -> Iterator[str]:
    yield repr(value)
    if isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)


@pytest.mark.parametrize("trace_as", ["chain", "retriever"])
@pytest.mark.parametrize("outcome", [well, refusing(503)], ids=["success", "failure"])
def test_trace_without_content_holds_no_text(face: Face, outcome: Any, trace_as: str) -> None:
    trees, handler = Trees(), Recorder()
    adapter = face.make(Wire(outcome), trace_content=False, trace_as=trace_as)
    try:
        _call(face, adapter, [trees, handler])
    except InternalServerError:
        assert outcome is not well
    else:
        assert trees.root.outputs is not None
        assert trees.root.outputs["documents"] == [{"id": "2", "length": 13}, {"id": "1", "length": 13}]
    assert trees.root.inputs == {
        "documents": [{"id": "1", "length": 13}, {"id": "2", "length": 13}],
        "query_length": len(QUERY),
    }
    everything = [*_strings(trees.root.__dict__), *(text for call in handler.seen.calls for text in _strings(call[3]))]
    assert not [text for text in everything if "private" in text or QUERY in text]


@pytest.mark.parametrize(("trace_as", "kind"), [("chain", "on_chain"), ("retriever", "on_retriever")])
async def test_event_stream_has_the_run(wire: Wire, trace_as: str, kind: str) -> None:
    rerank = FACES[1].make(wire, trace_as=trace_as).as_runnable()
    events = [event async for event in rerank.astream_events(ASKED, version="v2")]
    ours = [event for event in events if event["name"] in {"AnyRerank", "anyrerank.usage"}]
    assert [event["event"] for event in ours if "stream" not in event["event"]] == [
        f"{kind}_start",
        "on_custom_event",
        f"{kind}_end",
    ]
    (usage,) = [event for event in ours if event["event"] == "on_custom_event"]
    assert usage["data"]["search_units"] == 1
    assert usage["run_id"] == ours[0]["run_id"]
    assert {"anyrerank", "provider:cohere"} <= set(ours[0]["tags"])


def test_config_of_a_runnable_names_and_tags_the_run(face: Face, wire: Wire) -> None:
    trees, run_id = Trees(), UUID(int=99)
    config = {"callbacks": [trees], "run_name": "my rerank", "run_id": run_id, "tags": ["t"], "metadata": {"m": 1}}
    _invoke(face, face.make(wire).as_runnable(), ASKED, config)
    run = trees.root
    assert (run.name, run.id, run.tags) == ("my rerank", run_id, ["t", "anyrerank", "provider:cohere"])
    assert run.metadata["m"] == 1
    assert config["tags"] == ["t"]


def test_batch_of_a_runnable_is_one_run_per_call(face: Face, wire: Wire) -> None:
    trees = Trees()
    rerank = face.make(wire).as_runnable()
    if face.asynchronous:
        asyncio.run(rerank.abatch([ASKED] * 3, {"callbacks": [trees]}))
    else:
        rerank.batch([ASKED] * 3, {"callbacks": [trees]})
    assert [run.name for run in trees.roots] == ["AnyRerank"] * 3
    assert len({run.id for run in trees.roots}) == 3


def test_langchain_handlers_can_print_the_run(face: Face, wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    _call(face, face.make(wire), [StdOutCallbackHandler(), ConsoleCallbackHandler()])
    shown = capsys.readouterr().out
    assert "AnyRerank" in shown
    assert KEY not in shown
