"""The LangChain compressor: documents in, documents out, and the runnable made of it. What it shares with LlamaIndex's
is in `test_adapter`, its traces are in `test_langchain_tracing`, its dumps in `test_langchain_dumps`."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, cast

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda, RunnablePassthrough
from pydantic import ConfigDict, PrivateAttr, SecretStr
from tests.support.frameworks import COHERE, LOCAL, Face, Trees, Wire, refusing
from tests.support.harness import KEY, QUERY

from anyrerank import BadRequestError
from anyrerank.hooks import CallEvent
from anyrerank.langchain import AnyRerank, RerankRunnable

FACES = [Face("langchain", asynchronous=False), Face("langchain", asynchronous=True)]
DOCUMENTS = [Document(text, id=f"id-{text[0]}", metadata={"source": text[0]}) for text in ("c 0.3", "a 0.9", "b 0.5")]


@pytest.fixture(params=FACES, ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


def _contents(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


@pytest.mark.parametrize("name", ["compress_documents", "acompress_documents"])
def test_the_signature_is_that_of_the_base_class(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(kind, name)).parameters for kind in (AnyRerank, BaseDocumentCompressor))
    assert list(ours) == list(theirs) == ["self", "documents", "query", "callbacks"]
    assert ours["callbacks"].default is None
    assert name in vars(AnyRerank)
    assert inspect.iscoroutinefunction(getattr(AnyRerank, name)) == (name == "acompress_documents")


def test_arguments_may_be_named(wire: Wire) -> None:
    compressor = AnyRerank(model=COHERE, api_key=SecretStr(KEY), http_client=wire.client(asynchronous=False))
    assert compressor.compress_documents(documents=tuple(DOCUMENTS), query=QUERY, callbacks=None)[0].id == "id-a"


def test_ids_and_metadata_are_kept(face: Face, wire: Wire) -> None:
    found = face.rerank(face.make(wire), DOCUMENTS)
    assert found == [
        Document("a 0.9", id="id-a", metadata={"source": "a", "relevance_score": 0.9}),
        Document("b 0.5", id="id-b", metadata={"source": "b", "relevance_score": 0.5}),
        Document("c 0.3", id="id-c", metadata={"source": "c", "relevance_score": 0.3}),
    ]
    assert all("relevance_score" not in document.metadata for document in DOCUMENTS)


class _Page(Document):
    """A subclass with all the kinds of state that a model can have."""

    model_config = ConfigDict(extra="allow")

    page: int = 0
    state: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies it
    _embedding: list[float] = PrivateAttr(default_factory=list)


class _Plain(Document):
    page: int = 0


def test_subclasses_and_their_state_are_kept(face: Face, wire: Wire) -> None:
    page = _Page(page_content="a 0.9", id="1", page=7, state={"embedded": [0.5]}, shelf="north")  # type: ignore[call-arg]
    page._embedding = [1.0, 2.0]
    first, second = face.rerank(face.make(wire), [_Plain(page_content="b 0.5", page=3), page])
    assert (type(first), first.page, first.state, first.shelf) == (_Page, 7, {"embedded": [0.5]}, "north")
    assert (first._embedding, first.state) == ([1.0, 2.0], page.state)
    assert (type(second), second.page) == (_Plain, 3)
    assert (page.metadata, first.metadata) == ({}, {"relevance_score": 0.9})


def test_a_copy_behaves_as_pydantic_would_have_made_it(face: Face, wire: Wire) -> None:
    (found,) = face.rerank(face.make(wire), [DOCUMENTS[0]])
    expected = DOCUMENTS[0].model_copy(update={"metadata": {"source": "c", "relevance_score": 0.3}})
    assert (found, found.model_fields_set) == (expected, expected.model_fields_set)
    assert found.model_dump_json() == expected.model_dump_json()
    found.metadata = {"new": 1}
    assert found.model_copy(deep=True) == found


def test_nested_metadata_is_shared_not_copied(face: Face, wire: Wire) -> None:
    uncopyable = iter([1])
    document = Document("a 0.9", metadata={"uncopyable": uncopyable})
    (found,) = face.rerank(face.make(wire), [document])
    assert found.metadata["uncopyable"] is uncopyable


@pytest.mark.parametrize("key", ["relevance_score", "rank"])
def test_a_new_score_wins_over_an_old_one(face: Face, wire: Wire, key: str) -> None:
    document = Document("a 0.9", metadata={"first": 1, key: 0.1, "last": 2})
    (found,) = face.rerank(face.make(wire, metadata_key=key), [document])
    assert found.metadata == {"first": 1, key: 0.9, "last": 2}
    assert document.metadata[key] == 0.1


def test_two_passes(face: Face, wire: Wire) -> None:
    once = face.rerank(face.make(wire), DOCUMENTS)
    twice = face.rerank(face.make(wire, text_fn=lambda document: f"again {document.metadata['source'] == 'c'} 1"), once)
    assert {document.metadata["relevance_score"] for document in twice} == {1.0}
    assert [document.metadata["relevance_score"] for document in once] == [0.9, 0.5, 0.3]


def test_the_retrieval_score_can_be_kept(face: Face, wire: Wire) -> None:
    items = [Document("a 0.9", metadata={"relevance_score": 0.2}), Document("b 0.5")]
    first, second = face.rerank(face.make(wire, keep_retrieval_score=True), items)
    assert first.metadata == {"relevance_score": 0.9, "retrieval_score": 0.2}
    assert second.metadata == {"relevance_score": 0.5}


def test_blank_documents_carry_the_key_too(face: Face, wire: Wire) -> None:
    found = face.rerank(face.make(wire), [Document("  ", metadata={"relevance_score": 0.7}), *DOCUMENTS])
    assert [document.metadata["relevance_score"] for document in found] == [0.9, 0.5, 0.3, None]


def test_degraded_documents_say_so(face: Face) -> None:
    found = face.rerank(face.make(Wire(refusing(503)), on_error="passthrough"), DOCUMENTS)
    assert _contents(found) == _contents(DOCUMENTS)
    assert [document.metadata for document in found] == [
        {**document.metadata, "relevance_score": None, "degraded": True} for document in DOCUMENTS
    ]
    assert all("degraded" not in document.metadata for document in DOCUMENTS)


def test_documents_that_were_ranked_do_not_say_degraded(face: Face, wire: Wire) -> None:
    stale = face.rerank(face.make(Wire(refusing(503)), on_error="passthrough"), DOCUMENTS)
    for documents in (DOCUMENTS, stale):
        assert all("degraded" not in document.metadata for document in face.rerank(face.make(wire), documents))
    assert all(document.metadata["degraded"] for document in stale)


@pytest.mark.parametrize("own", [True, False, "a bad scan", None, 1], ids=repr)
def test_a_callers_own_degraded_stays(face: Face, wire: Wire, own: Any) -> None:
    found = [Document("a 0.9", metadata={"degraded": own})]
    for _ in range(2):
        found = face.rerank(face.make(wire), found)
        assert found[0].metadata == {"degraded": own, "relevance_score": 0.9}
        assert found[0].metadata["degraded"] is own


def test_a_callers_own_degraded_stays_beside_a_blank_that_was_ranked_before(face: Face, wire: Wire) -> None:
    found = [Document("a 0.9"), Document(" ", metadata={"degraded": "a bad scan"})]
    for _ in range(2):
        found = face.rerank(face.make(wire), found)
    assert found[1].metadata == {"degraded": "a bad scan", "relevance_score": None}


def test_the_first_retrieval_score_stays_in_a_second_pass(face: Face, wire: Wire) -> None:
    found = [Document("a 0.9", metadata={"relevance_score": 0.2})]
    for _ in range(2):
        found = face.rerank(face.make(wire, keep_retrieval_score=True), found)
    assert found[0].metadata == {"relevance_score": 0.9, "retrieval_score": 0.2}


@pytest.mark.parametrize("wrong", ["a text", {"text": "a mapping"}, None], ids=["str", "dict", "None"])
async def test_anything_but_documents_is_a_helpful_error(wire: Wire, wrong: Any) -> None:
    sync, awaited = (face.make(wire) for face in FACES)
    problem = rf"documents\[1\] must be a LangChain Document, got {type(wrong).__name__}"
    with pytest.raises(BadRequestError, match=problem):
        sync.compress_documents([DOCUMENTS[0], wrong], QUERY)
    with pytest.raises(BadRequestError, match=problem):
        await awaited.acompress_documents([DOCUMENTS[0], wrong], QUERY)
    assert wire.requests == []


def _invoke(face: Face, runnable: Runnable[Any, Any], value: Any, config: Any = None) -> Any:
    if not face.asynchronous:
        return runnable.invoke(value, config)

    async def ainvoke() -> Any:
        return await runnable.ainvoke(value, config)

    return asyncio.run(ainvoke())


def _asked(query: str = QUERY) -> dict[str, Any]:
    return {"query": query, "documents": DOCUMENTS}


def test_a_runnable_in_a_chain(face: Face, wire: Wire) -> None:
    rerank = face.make(wire, top_n=2).as_runnable()
    chain: Runnable[Any, Any] = (
        RunnablePassthrough.assign(documents=lambda _: DOCUMENTS)
        | RunnablePassthrough.assign(documents=rerank)
        | RunnableLambda(lambda state: (state["query"], _contents(state["documents"])))
    )
    assert _invoke(face, chain, {"query": "how?"}) == ("how?", ["a 0.9", "b 0.5"])
    assert wire.body == {"model": "rerank-v3.5", "query": "how?", "documents": _contents(DOCUMENTS), "top_n": 2}


def test_a_configurable_top_n(face: Face, wire: Wire) -> None:
    rerank = face.make(wire, top_n=2).as_runnable().configurable_fields(top_n=ConfigurableField(id="rerank_top_n"))
    assert len(_invoke(face, rerank, _asked())) == 2
    assert len(_invoke(face, rerank, _asked(), {"configurable": {"rerank_top_n": 1}})) == 1
    assert len(_invoke(face, rerank.with_config(configurable={"rerank_top_n": 3}), _asked())) == 3
    assert [body["top_n"] for body in wire.bodies] == [2, 1, 3]
    with pytest.raises(BadRequestError):
        _invoke(face, rerank, _asked(), {"configurable": {"rerank_top_n": 0}})


def test_a_bound_top_n(face: Face, wire: Wire) -> None:
    assert len(_invoke(face, face.make(wire).as_runnable().bind(top_n=1), _asked())) == 1
    assert wire.body["top_n"] == 1


def test_options_of_a_call(face: Face, wire: Wire) -> None:
    heard: list[CallEvent] = []
    rerank = face.make(wire, hooks=[heard.append], timeout=60.0).as_runnable()
    given = rerank.bind(score_threshold=0.5, metadata={"page": 1}, max_tokens_per_doc=9, user="ann")
    assert _contents(_invoke(face, given, _asked())) == ["a 0.9", "b 0.5"]
    assert (wire.body["max_tokens_per_doc"], heard[0].user, heard[0].metadata) == (9, "ann", {"page": 1})


def test_rank_fields_of_a_call(face: Face, wire: Wire) -> None:
    rerank = face.make(wire, api_base="https://api.cohere.com/v2").as_runnable().bind(rank_fields=["source"])
    _invoke(face, rerank, _asked())
    assert all("0." not in str(text) for text in wire.sent)


def test_guardrails_of_a_call(face: Face, wire: Wire) -> None:
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
def test_a_wrong_option_of_a_call_is_refused(face: Face, wire: Wire, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadRequestError, match=problem):
        _invoke(face, face.make(wire).as_runnable().bind(**given), _asked())
    assert wire.requests == []


def test_a_runnable_names_its_run(face: Face, wire: Wire) -> None:
    trees = Trees()
    rerank = RerankRunnable(compressor=face.make(wire), name="second stage")
    _invoke(face, rerank, _asked(), {"callbacks": [trees]})
    _invoke(face, rerank, _asked(), {"callbacks": [trees], "run_name": "mine"})
    assert [run.name for run in trees.roots] == ["second stage", "mine"]


def test_a_runnable_of_nothing(face: Face, wire: Wire) -> None:
    assert _invoke(face, face.make(wire).as_runnable(), {"query": QUERY, "documents": []}) == []
    assert wire.requests == []


def test_batch(wire: Wire) -> None:
    rerank = FACES[0].make(wire, top_n=1).as_runnable()
    found = rerank.batch([_asked(f"query {n}") for n in range(5)], {"max_concurrency": 3})
    assert [_contents(documents) for documents in found] == [["a 0.9"]] * 5
    assert sorted(body["query"] for body in wire.bodies) == [f"query {n}" for n in range(5)]


async def test_abatch(wire: Wire) -> None:
    rerank = FACES[1].make(wire, top_n=1).as_runnable()
    found = await rerank.abatch([_asked(f"query {n}") for n in range(5)])
    assert [_contents(documents) for documents in found] == [["a 0.9"]] * 5
    assert sorted(body["query"] for body in wire.bodies) == [f"query {n}" for n in range(5)]


def test_a_runnable_with_fallbacks(face: Face, wire: Wire) -> None:
    broken = face.make(Wire(refusing(503))).as_runnable()
    assert _contents(_invoke(face, broken.with_fallbacks([face.make(wire).as_runnable()]), _asked()))[0] == "a 0.9"


def test_a_runnable_streams_its_one_result(wire: Wire) -> None:
    rerank = FACES[0].make(wire).as_runnable()
    assert [_contents(chunk) for chunk in rerank.stream(_asked())] == [["a 0.9", "b 0.5", "c 0.3"]]


def test_a_local_model_in_a_chain() -> None:
    rerank = AnyRerank(model=LOCAL, top_n=1).as_runnable()
    chain = cast("Runnable[str, Any]", {"query": RunnablePassthrough(), "documents": lambda _: DOCUMENTS} | rerank)
    assert _contents(chain.invoke("b"))[0] in {"b 0.5", "c 0.3"}
