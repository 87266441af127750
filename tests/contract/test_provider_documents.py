"""Documents of every kind: they come back as they were given, and blank ones are not sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from tests.contract.provider_dialect import DOCUMENTS, QUERY, Dialect, each_http_provider, each_provider
from tests.support.harness import Mode, answering

from anyrerank import BadRequestError

LISTS: dict[str, list[Any]] = {
    "one": ["Ottawa"],
    "duplicates": ["Ottawa", "Lisbon", "Ottawa"],
    "mappings": [{"text": "Ottawa", "source": "a.pdf", "page": 3}, {"text": "Lisbon", "source": None}],
    "mixed": ["Ottawa", {"text": "Lisbon"}],
    "with blanks": ["", "Ottawa", " \n", {"text": "\u3000"}],
    "non-Latin": ["Оттава — столица", "オタワは首都", "أوتاوا", "ออตตาวา", "🇨🇦 \u200d", "e\u0301\u0000"],
}


@each_provider
@pytest.mark.parametrize("documents", list(LISTS.values()), ids=list(LISTS))
def test_documents_come_back_as_given(name: str, documents: list[Any], mode: Mode) -> None:
    dialect = Dialect(name)
    texts = [each if isinstance(each, str) else each["text"] for each in documents]
    ranked = [index for index, text in enumerate(texts) if text.strip()]
    blank = [index for index in range(len(texts)) if index not in ranked]
    body = dialect.answer([(index, 1 / (index + 2)) for index in range(len(ranked))]) if dialect.exchanges else {}
    before = json.dumps(documents)
    response, requests = dialect.rerank(mode, body, documents)

    assert sorted(each.index for each in response.results) == list(range(len(documents)))
    assert [each.index for each in response.results if each.relevance_score is None] == blank
    for each in response.results:
        given = documents[each.index]
        assert each.document == {"text": given} if isinstance(given, str) else each.document is given
    assert json.dumps(documents) == before
    for request in requests:
        sent = list(_strings(json.loads(request.content)))
        assert all(texts[index] in sent for index in ranked)
        assert not any(texts[index] in sent for index in blank)


def _strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    for below in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _strings(below)


@each_provider
def test_nothing_to_rank_sends_nothing(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    replay = answering({})
    reranker = dialect.reranker(mode, replay)
    assert len(mode.rerank(reranker, QUERY, []).results) == 0
    blank = mode.rerank(reranker, QUERY, ["", " "])
    assert [(each.index, each.relevance_score) for each in blank.results] == [(0, None), (1, None)]
    assert blank.degraded
    with pytest.raises(BadRequestError, match="query"):
        mode.rerank(reranker, " ", DOCUMENTS)
    assert replay.seen == []


ODD = {
    "let \ud835 be": "let \ufffd be",
    "\udd38\ud835": "\ufffd\ufffd",
    "a \ud835\udd38": "a \U0001d538",
    "é\ufeff": "é\ufeff",
}
"""Texts with half characters, and how they are sent."""


@each_http_provider
@pytest.mark.parametrize("form", [lambda text: text, lambda text: {"text": text}], ids=["text", "mapping"])
def test_half_characters_are_replaced_on_the_wire_only(name: str, form: Callable[[str], Any], mode: Mode) -> None:
    dialect = Dialect(name)
    documents = [form(text) for text in ODD]
    rows = [(index, 1 / (index + 2)) for index in range(len(documents))]
    response, requests = dialect.rerank(mode, dialect.answer(rows), documents)

    assert sorted(each.index for each in response.results) == list(range(len(documents)))
    for each in response.results:
        assert each.document == {"text": list(ODD)[each.index]}
    sent = [text for request in requests for text in _strings(json.loads(request.content))]
    assert all(text in sent for text in ODD.values())


@each_http_provider
def test_half_a_character_in_the_query_is_replaced(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    replay = answering(dialect.answer())
    mode.rerank(dialect.reranker(mode, replay), "why \ud835", DOCUMENTS)
    assert any("why \ufffd" in text for request in replay.seen for text in _strings(json.loads(request.content)))


@each_provider
@pytest.mark.parametrize("form", [lambda text: text, lambda text: {"text": text}], ids=["text", "mapping"])
def test_documents_are_cut_where_the_provider_does_not(name: str, form: Callable[[str], Any], mode: Mode) -> None:
    dialect = Dialect(name)
    texts = ["short", "capital of Canada " * 20, "オタワは首都" * 20]
    documents = [form(text) for text in texts]
    body = dialect.answer([(index, 1 / (index + 2)) for index in range(3)]) if dialect.exchanges else {}
    response, requests = dialect.rerank(mode, body, documents, max_tokens_per_doc=10)

    assert sorted(each.index for each in response.results) == [0, 1, 2]
    assert all(each.document == {"text": texts[each.index]} for each in response.results)
    sent = [text for request in requests for text in _strings(json.loads(request.content))]
    cut = [] if not requests else ["short", "capital of Canada capital of C", "オタワは首都オタワは"]
    assert all(text in sent for text in (texts if "max_tokens_per_doc" in dialect.kind.options and requests else cut))


@each_http_provider
def test_document_whose_text_is_none_is_blank(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    documents = [{"text": "Lisbon"}, {"text": None}, {"text": "Ottawa"}]
    response, _ = dialect.rerank(mode, dialect.answer([(0, 0.5), (1, 0.25)]), documents)
    assert [each.index for each in response.results] == [0, 2, 1]
    assert response.results[2].relevance_score is None


FIELDS = {
    "money": (Decimal("1.50"), "1.50"),
    "score": (np.float64(0.5), 0.5),
    "pages": (np.array([1, 2]), [1, 2]),
    "tags": (frozenset({"a"}), ["a"]),
    "path": (PurePosixPath("a/b"), "a/b"),
}
"""What JSON does not have, as data frames and loaders put it into documents, and how it is sent."""


@pytest.mark.parametrize("name", ["litellm_proxy", "pinecone"])
def test_fields_that_json_does_not_have_are_sent_as_what_they_say(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    document = {"text": "Ottawa", **{key: value for key, (value, _) in FIELDS.items()}}
    _, (request,) = dialect.rerank(mode, dialect.answer([(0, 0.5)]), [document])
    expected = {"text": "Ottawa", **{key: sent for key, (_, sent) in FIELDS.items()}}
    assert expected in list(_mappings(json.loads(request.content)))


@pytest.mark.parametrize(("field", "named"), [({"raw": b"x"}, "a field 'raw' that is a bytes"), ({7: "x"}, "is a int")])
def test_field_that_cannot_be_sent_is_named(field: dict[Any, Any], named: str, mode: Mode) -> None:
    replay = answering({})
    reranker = mode.reranker("litellm_proxy/m", api_base="http://x.test", http_client=replay.client(mode))
    with pytest.raises(BadRequestError, match=rf"documents\[1\] has .*{named}"):
        mode.rerank(reranker, QUERY, ["Ottawa", {"text": "Lisbon", **field}])
    assert replay.seen == []


def _mappings(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        yield tree
    for each in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _mappings(each)
