"""The run that each rerank is, as LangChain's handlers, tracers and event streams see it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
    StdOutCallbackHandler,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import ConsoleCallbackHandler
from langchain_core.tracers.context import collect_runs
from tests.support.frameworks import Face, Trees, Wire, refusing, well
from tests.support.harness import KEY, QUERY
from tests.support.loopback import PATIENCE

from anyrerank import GuardrailRaisedError, InternalServerError, Reranker

FACES = [Face("langchain", asynchronous=False), Face("langchain", asynchronous=True)]
DOCUMENTS = [Document("private c 0.3", id="1"), Document("private a 0.9", id="2")]
ASKED = {"query": QUERY, "documents": DOCUMENTS}

contexts_cross_tasks = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="before Python 3.11 LangChain cannot pass a run on to a new task"
)


@pytest.fixture(params=FACES, ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


@dataclass
class Seen:
    """What a handler was told, in order."""

    calls: list[tuple[str, UUID, UUID | None, dict[str, Any]]] = field(default_factory=list)

    def note(self, name: str, values: dict[str, Any]) -> None:
        self.calls.append((name, values["run_id"], values.get("parent_run_id"), values))

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]

    @property
    def runs(self) -> set[UUID]:
        return {run_id for _, run_id, *_ in self.calls}

    def values(self, name: str) -> dict[str, Any]:
        (found,) = [values for each, _, _, values in self.calls if each == name]
        return found


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen = Seen()

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.seen.note("start", {"inputs": inputs, **kwargs})

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.seen.note("end", {"outputs": outputs, **kwargs})

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.seen.note("error", {"error": error, **kwargs})

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        self.seen.note(name, {"data": data, **kwargs})

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.seen.note("retriever start", {"query": query, **kwargs})

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.seen.note("retriever end", {"documents": documents, **kwargs})


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
def test_callbacks_of_every_form(
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
def test_a_manager_says_which_run_is_the_parent(face: Face, wire: Wire, manager: Any) -> None:
    handler, parent = Recorder(), UUID(int=7)
    _call(face, face.make(wire), manager([handler], [handler], parent))
    assert {each[2] for each in handler.seen.calls if each[0] in {"start", "end"}} == {parent}


def test_an_async_manager_handed_to_the_synchronous_method_inside_a_loop(wire: Wire) -> None:
    async def inside() -> None:
        handler = AsyncRecorder()
        FACES[0].make(wire).compress_documents(DOCUMENTS, QUERY, AsyncCallbackManager([handler], [handler]))
        assert handler.seen.names == ["start", "anyrerank.usage", "end"]

    asyncio.run(inside())


def test_without_callbacks_and_outside_of_a_run_nothing_is_needed(face: Face, wire: Wire) -> None:
    assert len(_call(face, face.make(wire))) == 2


@contexts_cross_tasks
def test_without_callbacks_the_ambient_run_is_the_parent(face: Face, wire: Wire) -> None:
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


def test_a_collector_of_runs_sees_it(wire: Wire) -> None:
    with collect_runs() as collected:
        FACES[0].make(wire).compress_documents(DOCUMENTS, QUERY)
    (run,) = collected.traced_runs
    assert (run.name, run.run_type, run.error) == ("AnyRerank", "chain", None)


class _Found(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return DOCUMENTS


def test_under_the_compression_retriever(face: Face, wire: Wire) -> None:
    retriever = ContextualCompressionRetriever(base_compressor=face.make(wire), base_retriever=_Found())
    trees, handler = Trees(), Recorder()
    assert len(_invoke(face, retriever, QUERY, {"callbacks": [trees, handler]})) == 2
    base, rerank = trees.root.child_runs
    assert (trees.root.name, base.name, rerank.name) == ("ContextualCompressionRetriever", "_Found", "AnyRerank")
    assert rerank.parent_run_id == base.parent_run_id == trees.root.id
    assert rerank.trace_id == trees.root.id
    assert handler.seen.names.count("retriever end") == 2
    assert (handler.seen.names.count("start"), handler.seen.names.count("end")) == (1, 1)


def test_what_a_run_holds(face: Face, wire: Wire) -> None:
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


def test_usage_is_an_event_of_the_run(face: Face, wire: Wire) -> None:
    handler = Recorder()
    _call(face, face.make(wire), [handler])
    event = handler.seen.values("anyrerank.usage")
    assert event["data"] == handler.seen.values("end")["outputs"]["usage"]
    assert event["run_id"] == handler.seen.values("start")["run_id"]
    assert "private" not in repr(event["data"])


def test_a_degraded_call_says_so_in_the_run(face: Face) -> None:
    handler = Recorder()
    _call(face, face.make(Wire(refusing(503)), on_error="passthrough"), [handler])
    assert handler.seen.values("end")["outputs"]["usage"]["degraded"] is True


def test_nothing_to_rerank_is_no_run(face: Face, wire: Wire) -> None:
    handler = Recorder()
    adapter = face.make(wire)
    if face.asynchronous:
        assert asyncio.run(adapter.acompress_documents([], QUERY, [handler])) == []
    else:
        assert adapter.compress_documents([], QUERY, [handler]) == []
    assert handler.seen.calls == []


def test_a_failure_ends_the_run(face: Face) -> None:
    handler, trees = Recorder(), Trees()
    with pytest.raises(InternalServerError) as caught:
        _call(face, face.make(Wire(refusing(503))), [handler, trees])
    assert handler.seen.names == ["start", "error"]
    assert handler.seen.values("error")["error"] is caught.value
    assert len(handler.seen.runs) == 1
    assert "refused by the test" in (trees.root.error or "")
    assert KEY not in repr(trees.root.model_dump() if hasattr(trees.root, "model_dump") else vars(trees.root))


@pytest.mark.parametrize(
    "wrong",
    [{"text_fn": lambda document: 1 / 0}, {"api_key": None}],
    ids=["text_fn", "key"],
)
def test_a_failure_before_the_request_ends_the_run_too(face: Face, wire: Wire, wrong: dict[str, Any]) -> None:
    handler = Recorder()
    with pytest.raises(Exception, match=r"division by zero|COHERE_API_KEY"):
        _call(face, face.make(wire, **wrong), [handler])
    assert handler.seen.names == ["start", "error"]
    assert wire.requests == []


async def test_a_cancelled_call_ends_the_run() -> None:
    arrived, handler = asyncio.Event(), Recorder()

    async def never(request: httpx.Request) -> httpx.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    client = httpx.AsyncClient(transport=httpx.MockTransport(never))
    adapter = FACES[1].make(http_client=client)
    task = asyncio.create_task(adapter.acompress_documents(DOCUMENTS, QUERY, [handler]))
    await asyncio.wait_for(arrived.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handler.seen.names == ["start", "error"]
    assert isinstance(handler.seen.values("error")["error"], asyncio.CancelledError)


class _Interrupter(Recorder):
    """Interrupts what it is called in, at one of the events."""

    def __init__(self, event: str) -> None:
        super().__init__()
        self.event = event

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        super().on_chain_start(serialized, inputs, **kwargs)
        self._heard("start")

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        super().on_custom_event(name, data, **kwargs)
        self._heard(name)

    def _heard(self, event: str) -> None:
        if event == self.event:
            self.interrupt()

    def interrupt(self) -> None:
        raise NotImplementedError


class _Slow(AsyncCallbackHandler):
    """Never comes back from one of the events."""

    def __init__(self, event: str) -> None:
        self.event, self.arrived = event, asyncio.Event()

    async def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        await self._wait("start")

    async def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        await self._wait(name)

    async def _wait(self, event: str) -> None:
        if event == self.event:
            self.arrived.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("event", ["start", "anyrerank.usage"])
async def test_a_call_cancelled_while_a_handler_is_at_work_ends_the_run(wire: Wire, event: str) -> None:
    slow, handler = _Slow(event), Recorder()
    handler.run_inline = True
    task = asyncio.create_task(FACES[1].make(wire).acompress_documents(DOCUMENTS, QUERY, [handler, slow]))
    await asyncio.wait_for(slow.arrived.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [name for name in handler.seen.names if name != "anyrerank.usage"] == ["start", "error"]
    assert len(handler.seen.runs) == 1


class _Strict(_Interrupter):
    raise_error = True

    def interrupt(self) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("event", ["start", "anyrerank.usage"])
def test_a_handler_that_may_raise_ends_the_run(face: Face, wire: Wire, event: str) -> None:
    handler, other = _Strict(event), Recorder()
    with pytest.raises(ZeroDivisionError):
        _call(face, face.make(wire), [other, handler])
    for seen in (handler.seen, other.seen):
        assert [name for name in seen.names if name != "anyrerank.usage"] == ["start", "error"]
    assert isinstance(other.seen.values("error")["error"], ZeroDivisionError)


def _forbid(query: str) -> str:
    raise GuardrailRaisedError("not this one")


def test_a_query_that_a_guardrail_stops_is_a_run_without_it(face: Face, wire: Wire) -> None:
    trees = Trees()
    with pytest.raises(GuardrailRaisedError):
        _call(face, face.make(wire, guardrails=[_forbid]), [trees])
    assert trees.root.inputs == {"documents": DOCUMENTS, "query": ""}
    assert "not this one" in (trees.root.error or "")
    assert QUERY not in f"{trees.root.inputs} {trees.root.error} {trees.root.metadata}"


@pytest.mark.parametrize(("field", "shown"), [({}, 1), ({"top_n": 2}, 2)], ids=str)
def test_the_top_n_of_a_ready_reranker_is_that_of_the_run(
    face: Face, wire: Wire, field: dict[str, Any], shown: int
) -> None:
    trees = Trees()
    client = wire.client(asynchronous=face.asynchronous)
    ready = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=client, top_n=1)
    found = _call(face, face.make(reranker=ready, **field), [trees])
    assert (len(found), (trees.root.metadata or {})["rerank_top_n"]) == (shown, shown)


def test_an_interrupted_call_ends_the_run() -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    handler = Recorder()
    with pytest.raises(KeyboardInterrupt):
        _call(FACES[0], FACES[0].make(Wire(interrupt)), [handler])
    assert handler.seen.names == ["start", "error"]


@pytest.mark.parametrize(("trace_as", "run_type"), [("chain", "chain"), ("retriever", "retriever")])
def test_the_type_of_the_run(face: Face, wire: Wire, trace_as: str, run_type: str) -> None:
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
def test_a_trace_without_content(face: Face, outcome: Any, trace_as: str) -> None:
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
async def test_a_stream_of_events(wire: Wire, trace_as: str, kind: str) -> None:
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


def test_the_config_of_a_runnable_names_and_tags_the_run(face: Face, wire: Wire) -> None:
    trees, run_id = Trees(), UUID(int=99)
    config = {"callbacks": [trees], "run_name": "my rerank", "run_id": run_id, "tags": ["t"], "metadata": {"m": 1}}
    _invoke(face, face.make(wire).as_runnable(), ASKED, config)
    run = trees.root
    assert (run.name, run.id, run.tags) == ("my rerank", run_id, ["t", "anyrerank", "provider:cohere"])
    assert run.metadata["m"] == 1
    assert config["tags"] == ["t"]


def test_a_batch_of_a_runnable_is_a_run_each(face: Face, wire: Wire) -> None:
    trees = Trees()
    rerank = face.make(wire).as_runnable()
    if face.asynchronous:
        asyncio.run(rerank.abatch([ASKED] * 3, {"callbacks": [trees]}))
    else:
        rerank.batch([ASKED] * 3, {"callbacks": [trees]})
    assert [run.name for run in trees.roots] == ["AnyRerank"] * 3
    assert len({run.id for run in trees.roots}) == 3


def test_the_handlers_of_langchain_itself_can_print_it(
    face: Face, wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    _call(face, face.make(wire), [StdOutCallbackHandler(), ConsoleCallbackHandler()])
    shown = capsys.readouterr().out
    assert "AnyRerank" in shown
    assert KEY not in shown
