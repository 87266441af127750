"""The LangChain compressor: documents in, documents out."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, PrivateAttr, SecretStr
from tests.support.frameworks import COHERE, NVIDIA_VL, Face, Wire, face_fixture, faces, refusing
from tests.support.harness import KEY, QUERY

from anyrerank import BadRequestError
from anyrerank.langchain import AnyRerank

FACES = faces("langchain")
face = face_fixture("langchain")
DOCUMENTS = [Document(text, id=f"id-{text[0]}", metadata={"source": text[0]}) for text in ("c 0.3", "a 0.9", "b 0.5")]


def _contents(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


@pytest.mark.parametrize("name", ["compress_documents", "acompress_documents"])
def test_signature_is_that_of_the_base_class(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(kind, name)).parameters for kind in (AnyRerank, BaseDocumentCompressor))
    assert list(ours) == list(theirs) == ["self", "documents", "query", "callbacks"]
    assert ours["callbacks"].default is None
    assert name in vars(AnyRerank)
    assert inspect.iscoroutinefunction(getattr(AnyRerank, name)) == (name == "acompress_documents")


def test_arguments_are_accepted_by_name(wire: Wire) -> None:
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
    """A subclass with every kind of state."""

    model_config = ConfigDict(extra="allow")

    page: int = 0
    state: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies it
    _embedding: list[float] = PrivateAttr(default_factory=list)


class _Plain(Document):
    page: int = 0


def test_document_subclass_and_its_state_are_kept(face: Face, wire: Wire) -> None:
    page = _Page(page_content="a 0.9", id="1", page=7, state={"embedded": [0.5]}, shelf="north")  # type: ignore[call-arg]
    page._embedding = [1.0, 2.0]
    first, second = face.rerank(face.make(wire), [_Plain(page_content="b 0.5", page=3), page])
    assert (type(first), first.page, first.state, first.shelf) == (_Page, 7, {"embedded": [0.5]}, "north")
    assert (first._embedding, first.state) == ([1.0, 2.0], page.state)
    assert (type(second), second.page) == (_Plain, 3)
    assert (page.metadata, first.metadata) == ({}, {"relevance_score": 0.9})


def test_returned_document_is_a_pydantic_copy(face: Face, wire: Wire) -> None:
    (found,) = face.rerank(face.make(wire), [DOCUMENTS[0]])
    expected = DOCUMENTS[0].model_copy(update={"metadata": {"source": "c", "relevance_score": 0.3}})
    assert (found, found.model_fields_set) == (expected, expected.model_fields_set)
    assert found.model_dump_json() == expected.model_dump_json()
    found.metadata = {"new": 1}
    assert found.model_copy(deep=True) == found


def test_nested_metadata_is_shared(face: Face, wire: Wire) -> None:
    uncopyable = iter([1])
    document = Document("a 0.9", metadata={"uncopyable": uncopyable})
    (found,) = face.rerank(face.make(wire), [document])
    assert found.metadata["uncopyable"] is uncopyable


@pytest.mark.parametrize("fields", [{}, {"rank_fields": ["text", "title"]}, {"model": NVIDIA_VL}], ids=str)
def test_metadata_of_none_is_empty(face: Face, wire: Wire, fields: dict[str, Any]) -> None:
    document = Document("a 0.9")
    document.metadata = None  # type: ignore[assignment]  # pydantic does not check it
    (found,) = face.rerank(face.make(wire, keep_retrieval_score=True, **fields), [document])
    assert found.metadata == {"relevance_score": 0.9}


def test_metadata_that_is_no_mapping_is_refused_unsent(face: Face, wire: Wire) -> None:
    document = Document("a 0.9")
    document.metadata = ["secret"]  # type: ignore[assignment]
    with pytest.raises(BadRequestError, match=r"the metadata of documents\[1\] must be a mapping, got list"):
        face.rerank(face.make(wire), [DOCUMENTS[0], document])
    assert wire.requests == []


@pytest.mark.parametrize("key", ["relevance_score", "rank"])
def test_new_score_replaces_the_old_one(face: Face, wire: Wire, key: str) -> None:
    document = Document("a 0.9", metadata={"first": 1, key: 0.1, "last": 2})
    (found,) = face.rerank(face.make(wire, metadata_key=key), [document])
    assert found.metadata == {"first": 1, key: 0.9, "last": 2}
    assert document.metadata[key] == 0.1


def test_second_rerank_leaves_the_first_result_intact(face: Face, wire: Wire) -> None:
    once = face.rerank(face.make(wire), DOCUMENTS)
    twice = face.rerank(face.make(wire, text_fn=lambda document: f"again {document.metadata['source'] == 'c'} 1"), once)
    assert {document.metadata["relevance_score"] for document in twice} == {1.0}
    assert [document.metadata["relevance_score"] for document in once] == [0.9, 0.5, 0.3]


def test_retrieval_score_can_be_kept(face: Face, wire: Wire) -> None:
    items = [Document("a 0.9", metadata={"relevance_score": 0.2}), Document("b 0.5")]
    first, second = face.rerank(face.make(wire, keep_retrieval_score=True), items)
    assert first.metadata == {"relevance_score": 0.9, "retrieval_score": 0.2}
    assert second.metadata == {"relevance_score": 0.5}


def test_blank_document_has_the_score_none(face: Face, wire: Wire) -> None:
    found = face.rerank(face.make(wire), [Document("  ", metadata={"relevance_score": 0.7}), *DOCUMENTS])
    assert [document.metadata["relevance_score"] for document in found] == [0.9, 0.5, 0.3, None]


def test_passthrough_marks_documents_as_degraded(face: Face) -> None:
    found = face.rerank(face.make(Wire(refusing(503)), on_error="passthrough"), DOCUMENTS)
    assert _contents(found) == _contents(DOCUMENTS)
    assert [document.metadata for document in found] == [
        {**document.metadata, "relevance_score": None, "degraded": True} for document in DOCUMENTS
    ]
    assert all("degraded" not in document.metadata for document in DOCUMENTS)


def test_ranked_documents_are_not_marked_as_degraded(face: Face, wire: Wire) -> None:
    stale = face.rerank(face.make(Wire(refusing(503)), on_error="passthrough"), DOCUMENTS)
    for documents in (DOCUMENTS, stale):
        assert all("degraded" not in document.metadata for document in face.rerank(face.make(wire), documents))
    assert all(document.metadata["degraded"] for document in stale)


@pytest.mark.parametrize("own", [True, False, "a bad scan", None, 1], ids=repr)
def test_own_degraded_metadata_is_kept(face: Face, wire: Wire, own: Any) -> None:
    found = [Document("a 0.9", metadata={"degraded": own})]
    for _ in range(2):
        found = face.rerank(face.make(wire), found)
        assert found[0].metadata == {"degraded": own, "relevance_score": 0.9}
        assert found[0].metadata["degraded"] is own


def test_own_degraded_metadata_of_a_blank_document_is_kept(face: Face, wire: Wire) -> None:
    found = [Document("a 0.9"), Document(" ", metadata={"degraded": "a bad scan"})]
    for _ in range(2):
        found = face.rerank(face.make(wire), found)
    assert found[1].metadata == {"degraded": "a bad scan", "relevance_score": None}


def test_first_retrieval_score_is_kept_in_a_second_rerank(face: Face, wire: Wire) -> None:
    found = [Document("a 0.9", metadata={"relevance_score": 0.2})]
    for _ in range(2):
        found = face.rerank(face.make(wire, keep_retrieval_score=True), found)
    assert found[0].metadata == {"relevance_score": 0.9, "retrieval_score": 0.2}


@pytest.mark.parametrize("wrong", ["a text", {"text": "a mapping"}, None], ids=["str", "dict", "None"])
async def test_other_object_among_the_documents_is_refused(wire: Wire, wrong: Any) -> None:
    sync, awaited = (face.make(wire) for face in FACES)
    problem = rf"documents\[1\] must be a LangChain Document, got {type(wrong).__name__}"
    with pytest.raises(BadRequestError, match=problem):
        sync.compress_documents([DOCUMENTS[0], wrong], QUERY)
    with pytest.raises(BadRequestError, match=problem):
        await awaited.acompress_documents([DOCUMENTS[0], wrong], QUERY)
    assert wire.requests == []


def test_content_is_among_the_rank_fields_under_its_name_in_langchain(wire: Wire) -> None:
    adapter = AnyRerank(
        model=COHERE, api_key=KEY, http_client=wire.client(asynchronous=False), rank_fields=["page_content", "title"]
    )
    adapter.compress_documents([Document("body 0.5", metadata={"title": "head"})], QUERY)
    assert all(word in wire.sent[0] for word in ("body 0.5", "head"))
