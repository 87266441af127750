"""Queries and documents: which are refused, which are blank, and which are identical."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from tests.unit.engine.server import Server

from anyrerank import BadRequestError
from anyrerank._core.engine import blanks, checked_documents, checked_query
from anyrerank._core.engine.candidates import identity


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize("query", ["", " ", "\n\t\u00a0", None, 3, b"q", ["q"], {"text": "q"}])
def test_query_that_is_blank_or_no_string_is_refused(server: Server, query: Any) -> None:
    with pytest.raises(BadRequestError, match="query"):
        server.rerank(query=query)
    assert server.bodies == []


@pytest.mark.parametrize("query", ["", 3])
def test_query_is_checked_without_documents_too(server: Server, query: Any) -> None:
    with pytest.raises(BadRequestError, match="query"):
        server.rerank([], query=query)


@pytest.mark.parametrize(
    "documents",
    ["one string", b"bytes", {"a", "b"}, frozenset({"a"}), {"text": "a"}, None, 3, object()],
    ids=lambda documents: type(documents).__name__,
)
def test_documents_that_are_no_sequence_are_refused(server: Server, documents: Any) -> None:
    with pytest.raises(BadRequestError, match="documents must be a sequence"):
        server.rerank(documents)
    assert server.bodies == []


@pytest.mark.parametrize(
    "wrong", [3, None, 2.5, True, b"bytes", ["a"], object()], ids=lambda wrong: type(wrong).__name__
)
def test_document_that_is_no_string_or_mapping_is_refused(server: Server, wrong: Any) -> None:
    with pytest.raises(BadRequestError, match=r"documents\[1\]"):
        server.rerank(["a", wrong])
    assert server.bodies == []


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"title": "t"},
        {"text": 3},
        {"image": "data:image/png;base64,"},
        {"text": None, "image": "data:image/png;base64,"},
    ],
)
@pytest.mark.parametrize("first", ["a", {"text": "a"}])
def test_mapping_without_a_text_is_refused(server: Server, first: Any, wrong: Any) -> None:
    with pytest.raises(BadRequestError, match=r"documents\[1\].*'text'"):
        server.rerank([first, wrong])
    assert server.bodies == []


def test_mapping_without_the_rank_fields_is_blank(server: Server) -> None:
    response = server.rerank([{"text": "a"}, {"title": "t"}], model="cohere/m", rank_fields=["title", "body"])
    assert server.bodies[0]["documents"] == ["title: t\n"]
    assert list(response.results.pairs()) == [(1, 1.0), (0, None)]


@pytest.mark.parametrize(
    "documents", [[""], ["", "  ", "\n"], [{"text": " "}], ["", {"text": ""}]], ids=["one", "many", "mapping", "mixed"]
)
def test_only_blank_documents_come_back_unranked_and_nothing_is_sent(server: Server, documents: Any) -> None:
    response = server.rerank(documents)
    assert list(response.results.pairs()) == [(index, None) for index in range(len(documents))]
    assert response.degraded
    assert server.bodies == []


@pytest.mark.parametrize(
    ("documents", "options", "reason"),
    [
        ([" ", ""], {}, "all documents are blank"),
        ([{"tittle": "a"}], {"rank_fields": ["title"]}, "no document has a title"),
    ],
)
def test_nothing_to_rank_is_a_warning(
    server: Server, documents: Any, options: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        response = server.rerank(documents, **options)
    assert reason in caplog.text
    assert reason in response.meta.warnings[0]


def test_only_blank_documents_are_dropped_by_a_threshold(server: Server) -> None:
    response = server.rerank(["", " "], score_threshold=0.0)
    assert (list(response.results), response.degraded) == ([], True)


@pytest.mark.parametrize("documents", [[], ()])
def test_no_documents_give_an_empty_response_without_a_request(server: Server, documents: Any) -> None:
    response = server.rerank(documents)
    assert list(response.results) == []
    assert server.bodies == []


@pytest.mark.parametrize(
    "make",
    [list, tuple, iter, dict.fromkeys, lambda texts: (text for text in texts), lambda texts: map(str, texts)],
    ids=["list", "tuple", "iterator", "dict is refused", "generator", "map"],
)
def test_documents_can_be_any_ordered_iterable(server: Server, make: Callable[[list[str]], Any]) -> None:
    documents = make(["a", "b", "c"])
    if isinstance(documents, Mapping):
        with pytest.raises(BadRequestError):
            server.rerank(documents)
        return
    response = server.rerank(documents)
    assert server.bodies[0]["documents"] == ["a", "b", "c"]
    assert [result.document for result in response.results] == [{"text": "a"}, {"text": "b"}, {"text": "c"}]


def test_document_can_be_any_mapping(server: Server) -> None:
    document = MappingProxyType({"text": "a", "source": "s"})
    response = server.rerank([document])
    assert server.bodies[0]["documents"] == ["a"]
    assert response.results[0].document is document


def test_blank_documents_are_not_sent_and_come_last(server: Server) -> None:
    response = server.rerank(["", "a", "\u3000", "b"])
    assert server.bodies[0]["documents"] == ["a", "b"]
    assert response.results.indexes == (1, 3, 0, 2)
    assert response.results.scores == (1.0, 0.5, None, None)


def test_threshold_drops_blank_documents(server: Server) -> None:
    assert server.rerank(["", "a"], score_threshold=-1.0).results.indexes == (1,)


def test_checked_query_and_documents_are_not_copied() -> None:
    query, documents = "  q ", ["a"]
    assert checked_query(query) is query
    assert checked_documents(documents) is documents


@pytest.mark.parametrize(
    ("documents", "rank_fields", "blank"),
    [
        (["a", "b"], None, []),
        (["a", "", " \n"], None, [1, 2]),
        ([{"text": "a"}, {"text": " "}], None, [1]),
        ([{"title": "t", "text": ""}, {"title": " "}], ["title"], [1]),
        ([{"title": None, "body": "b"}, {"body": 0}], ["title", "body"], []),
        ([" ", "a"], ["title"], [0]),
        ([{"text": "a"}, {"title": "t"}], ["title"], [0]),
    ],
)
def test_blanks_are_the_indexes_of_blank_documents(
    documents: list[Any], rank_fields: Sequence[str] | None, blank: list[int]
) -> None:
    assert blanks(documents, rank_fields, images=False) == blank


def test_image_without_text_is_not_blank_if_images_are_ranked() -> None:
    image: dict[str, Any] = {"image": "data:image/png;base64,AA=="}
    assert blanks([image, "a"], None, images=True) == []
    with pytest.raises(BadRequestError, match="cannot rank"):
        blanks([image, "a"], None, images=False)


@pytest.mark.parametrize(
    ("one", "other", "rank_fields", "same"),
    [
        ("a", "a", None, True),
        ("a", "A", None, False),
        ("a", "a ", None, False),
        ({"text": "a", "source": 1}, {"text": "a", "source": 2}, None, True),
        ("a", {"text": "a"}, None, True),
        ({"text": "a", "image": "x"}, {"text": "a", "image": "y"}, None, False),
        ({"text": "a", "title": "t"}, {"text": "b", "title": "t"}, ["title"], True),
        ({"text": "a", "title": "t"}, {"text": "a", "title": "u"}, ["title"], False),
        ({"a": "x", "b": ""}, {"a": "", "b": "x"}, ["a", "b"], False),
    ],
)
def test_documents_are_identical_if_the_model_reads_the_same(
    one: Any, other: Any, rank_fields: Sequence[str] | None, same: bool
) -> None:
    assert (identity(one, rank_fields, whole=False) == identity(other, rank_fields, whole=False)) is same


def test_dedupe_sends_identical_texts_once_and_scores_every_duplicate(server: Server) -> None:
    response = server.rerank(["a", "b", {"text": "a"}, "a"], dedupe=True)
    assert server.bodies[0]["documents"] == ["a", "b"]
    assert response.results.indexes == (0, 2, 3, 1)
    assert response.results.scores == (1.0, 1.0, 1.0, 0.5)
