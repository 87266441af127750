"""The LangChain compressor as a runnable for LCEL."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda, RunnablePassthrough
from tests.support.frameworks import LOCAL, Face, Trees, Wire, face_fixture, faces, refusing
from tests.support.harness import QUERY

from anyrerank import BadRequestError
from anyrerank.hooks import CallEvent
from anyrerank.langchain import AnyRerank, RerankRunnable

FACES = faces("langchain")
face = face_fixture("langchain")
DOCUMENTS = [Document(text, id=f"id-{text[0]}", metadata={"source": text[0]}) for text in ("c 0.3", "a 0.9", "b 0.5")]


def _contents(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def _invoke(face: Face, runnable: Runnable[Any, Any], value: Any, config: Any = None) -> Any:
    if not face.asynchronous:
        return runnable.invoke(value, config)

    async def ainvoke() -> Any:
        return await runnable.ainvoke(value, config)

    return asyncio.run(ainvoke())


def _asked(query: str = QUERY) -> dict[str, Any]:
    return {"query": query, "documents": DOCUMENTS}


def test_runnable_works_in_a_chain(face: Face, wire: Wire) -> None:
    rerank = face.make(wire, top_n=2).as_runnable()
    chain: Runnable[Any, Any] = (
        RunnablePassthrough.assign(documents=lambda _: DOCUMENTS)
        | RunnablePassthrough.assign(documents=rerank)
        | RunnableLambda(lambda state: (state["query"], _contents(state["documents"])))
    )
    assert _invoke(face, chain, {"query": "how?"}) == ("how?", ["a 0.9", "b 0.5"])
    assert wire.body == {"model": "rerank-v3.5", "query": "how?", "documents": _contents(DOCUMENTS), "top_n": 2}


def test_runnable_has_a_configurable_top_n(face: Face, wire: Wire) -> None:
    rerank = face.make(wire, top_n=2).as_runnable().configurable_fields(top_n=ConfigurableField(id="rerank_top_n"))
    assert len(_invoke(face, rerank, _asked())) == 2
    assert len(_invoke(face, rerank, _asked(), {"configurable": {"rerank_top_n": 1}})) == 1
    assert len(_invoke(face, rerank.with_config(configurable={"rerank_top_n": 3}), _asked())) == 3
    assert [body["top_n"] for body in wire.bodies] == [2, 1, 3]
    with pytest.raises(BadRequestError):
        _invoke(face, rerank, _asked(), {"configurable": {"rerank_top_n": 0}})


def test_runnable_takes_a_bound_top_n(face: Face, wire: Wire) -> None:
    assert len(_invoke(face, face.make(wire).as_runnable().bind(top_n=1), _asked())) == 1
    assert wire.body["top_n"] == 1


def test_runnable_takes_options_of_a_call(face: Face, wire: Wire) -> None:
    calls: list[CallEvent] = []
    rerank = face.make(wire, hooks=[calls.append], timeout=60.0).as_runnable()
    given = rerank.bind(score_threshold=0.5, metadata={"page": 1}, max_tokens_per_doc=9, user="ann")
    assert _contents(_invoke(face, given, _asked())) == ["a 0.9", "b 0.5"]
    assert (wire.body["max_tokens_per_doc"], calls[0].user, calls[0].metadata) == (9, "ann", {"page": 1})


def test_runnable_takes_rank_fields_of_a_call(face: Face, wire: Wire) -> None:
    rerank = face.make(wire, api_base="https://api.cohere.com/v2").as_runnable().bind(rank_fields=["source"])
    _invoke(face, rerank, _asked())
    assert all("0." not in str(text) for text in wire.sent)


def test_runnable_takes_guardrails_of_a_call(face: Face, wire: Wire) -> None:
    trees = Trees()
    rerank = face.make(wire).as_runnable().bind(guardrails=[str.upper])
    _invoke(face, rerank, _asked("how?"), {"callbacks": [trees]})
    assert (wire.body["query"], trees.root.inputs["query"]) == ("HOW?", "HOW?")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"topn": 1}, "has no option topn; did you mean top_n"),
        ({"score_threshold": "high"}, "score_threshold must be"),
        ({"api_key": "other"}, "api_key cannot be set in a call"),
    ],
    ids=str,
)
def test_runnable_refuses_a_wrong_option(face: Face, wire: Wire, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadRequestError, match=problem):
        _invoke(face, face.make(wire).as_runnable().bind(**given), _asked())
    assert wire.requests == []


def test_runnable_names_its_run(face: Face, wire: Wire) -> None:
    trees = Trees()
    rerank = RerankRunnable(compressor=face.make(wire), name="second stage")
    _invoke(face, rerank, _asked(), {"callbacks": [trees]})
    _invoke(face, rerank, _asked(), {"callbacks": [trees], "run_name": "mine"})
    assert [run.name for run in trees.roots] == ["second stage", "mine"]


def test_runnable_with_no_documents_sends_nothing(face: Face, wire: Wire) -> None:
    assert _invoke(face, face.make(wire).as_runnable(), {"query": QUERY, "documents": []}) == []
    assert wire.requests == []


def test_runnable_batch(wire: Wire) -> None:
    rerank = FACES[0].make(wire, top_n=1).as_runnable()
    found = rerank.batch([_asked(f"query {n}") for n in range(5)], {"max_concurrency": 3})
    assert [_contents(documents) for documents in found] == [["a 0.9"]] * 5
    assert sorted(body["query"] for body in wire.bodies) == [f"query {n}" for n in range(5)]


async def test_runnable_abatch(wire: Wire) -> None:
    rerank = FACES[1].make(wire, top_n=1).as_runnable()
    found = await rerank.abatch([_asked(f"query {n}") for n in range(5)])
    assert [_contents(documents) for documents in found] == [["a 0.9"]] * 5
    assert sorted(body["query"] for body in wire.bodies) == [f"query {n}" for n in range(5)]


def test_runnable_works_with_fallbacks(face: Face, wire: Wire) -> None:
    broken = face.make(Wire(refusing(503))).as_runnable()
    assert _contents(_invoke(face, broken.with_fallbacks([face.make(wire).as_runnable()]), _asked()))[0] == "a 0.9"


def test_runnable_streams_one_result(wire: Wire) -> None:
    rerank = FACES[0].make(wire).as_runnable()
    assert [_contents(chunk) for chunk in rerank.stream(_asked())] == [["a 0.9", "b 0.5", "c 0.3"]]


def test_runnable_of_a_local_model_works_in_a_chain() -> None:
    rerank = AnyRerank(model=LOCAL, top_n=1).as_runnable()
    chain = cast("Runnable[str, Any]", {"query": RunnablePassthrough(), "documents": lambda _: DOCUMENTS} | rerank)
    assert _contents(chain.invoke("b"))[0] in {"b 0.5", "c 0.3"}


@pytest.mark.parametrize(
    ("given", "missing"), [({"query": "q"}, "documents"), ({"documents": []}, "query"), ("q", "query")]
)
async def test_input_without_query_or_documents_is_refused(given: Any, missing: str) -> None:
    runnable = AnyRerank(model="local/lexical").as_runnable()
    with pytest.raises(BadRequestError, match=f"has no {missing}"):
        runnable.invoke(given)
    with pytest.raises(BadRequestError, match=f"has no {missing}"):
        await runnable.ainvoke(given)
