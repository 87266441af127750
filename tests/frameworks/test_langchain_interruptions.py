"""The traced run of a rerank that fails, is cancelled or interrupted always ends."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.documents import Document
from tests.frameworks.listeners import Recorder
from tests.support.frameworks import Face, Trees, Wire, face_fixture, faces, refusing
from tests.support.harness import KEY, QUERY
from tests.support.loopback import MAX_WAIT

from anyrerank import GuardrailRaisedError, InternalServerError

FACES = faces("langchain")
face = face_fixture("langchain")
DOCUMENTS = [Document("private c 0.3", id="1"), Document("private a 0.9", id="2")]


def _call(face: Face, adapter: Any, callbacks: Any = None) -> Any:
    if face.asynchronous:
        return asyncio.run(adapter.acompress_documents(DOCUMENTS, QUERY, callbacks))
    return adapter.compress_documents(DOCUMENTS, QUERY, callbacks)


def test_failure_ends_the_run(face: Face) -> None:
    handler, trees = Recorder(), Trees()
    with pytest.raises(InternalServerError) as caught:
        _call(face, face.make(Wire(refusing(503))), [handler, trees])
    assert handler.seen.names == ["start", "error"]
    assert handler.seen.values("error")["error"] is caught.value
    assert len(handler.seen.runs) == 1
    assert "refused by the test" in (trees.root.error or "")
    assert KEY not in repr(trees.root.model_dump() if hasattr(trees.root, "model_dump") else vars(trees.root))


@pytest.mark.parametrize("wrong", [{"text_fn": lambda document: 1 / 0}, {"api_key": None}], ids=["text_fn", "key"])
def test_failure_before_the_request_ends_the_run(face: Face, wire: Wire, wrong: dict[str, Any]) -> None:
    handler = Recorder()
    with pytest.raises(Exception, match=r"ZeroDivisionError|COHERE_API_KEY"):
        _call(face, face.make(wire, **wrong), [handler])
    assert handler.seen.names == ["start", "error"]
    assert wire.requests == []


async def test_cancelled_call_ends_the_run() -> None:
    arrived, handler = asyncio.Event(), Recorder()

    async def never(request: httpx.Request) -> httpx.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    client = httpx.AsyncClient(transport=httpx.MockTransport(never))
    adapter = FACES[1].make(http_client=client)
    task = asyncio.create_task(adapter.acompress_documents(DOCUMENTS, QUERY, [handler]))
    await asyncio.wait_for(arrived.wait(), MAX_WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handler.seen.names == ["start", "error"]
    assert isinstance(handler.seen.values("error")["error"], asyncio.CancelledError)


class _Slow(AsyncCallbackHandler):
    """Never returns from one of the events."""

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
async def test_call_cancelled_inside_a_handler_ends_the_run(wire: Wire, event: str) -> None:
    slow, handler = _Slow(event), Recorder()
    handler.run_inline = True
    task = asyncio.create_task(FACES[1].make(wire).acompress_documents(DOCUMENTS, QUERY, [handler, slow]))
    await asyncio.wait_for(slow.arrived.wait(), MAX_WAIT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [name for name in handler.seen.names if name != "anyrerank.usage"] == ["start", "error"]
    assert len(handler.seen.runs) == 1


class _Raising(Recorder):
    """Raises at one of the events."""

    raise_error = True

    def __init__(self, event: str) -> None:
        super().__init__()
        self.event = event

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        super().on_chain_start(serialized, inputs, **kwargs)
        self._raise_at("start")

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        super().on_custom_event(name, data, **kwargs)
        self._raise_at(name)

    def _raise_at(self, event: str) -> None:
        if event == self.event:
            raise ZeroDivisionError


@pytest.mark.parametrize("event", ["start", "anyrerank.usage"])
def test_raising_handler_ends_the_run(face: Face, wire: Wire, event: str) -> None:
    handler, other = _Raising(event), Recorder()
    with pytest.raises(ZeroDivisionError):
        _call(face, face.make(wire), [other, handler])
    for seen in (handler.seen, other.seen):
        assert [name for name in seen.names if name != "anyrerank.usage"] == ["start", "error"]
    assert isinstance(other.seen.values("error")["error"], ZeroDivisionError)


def _forbid(query: str) -> str:
    raise GuardrailRaisedError("not this one")


def test_run_of_a_refused_query_does_not_hold_it(face: Face, wire: Wire) -> None:
    trees = Trees()
    with pytest.raises(GuardrailRaisedError):
        _call(face, face.make(wire, guardrails=[_forbid]), [trees])
    assert trees.root.inputs == {"documents": DOCUMENTS, "query": ""}
    assert "not this one" in (trees.root.error or "")
    assert QUERY not in f"{trees.root.inputs} {trees.root.error} {trees.root.metadata}"


def test_interrupted_call_ends_the_run() -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    handler = Recorder()
    with pytest.raises(KeyboardInterrupt):
        _call(FACES[0], FACES[0].make(Wire(interrupt)), [handler])
    assert handler.seen.names == ["start", "error"]
