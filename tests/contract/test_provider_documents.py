"""Documents of every kind: they come back as they were given, and blank ones are not sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.provider_dialect import DOCUMENTS, QUERY, Dialect, each_http_provider, each_provider
from tests.support.harness import Mode, answering, leaks

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


@each_http_provider
def test_text_with_unpaired_surrogates_raises_without_showing_it(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    with pytest.raises(BadRequestError) as caught:
        dialect.rerank(mode, {}, ["half a \ud83d pair"])
    assert not leaks(caught.value, ["half a"])
