"""Lexical ranking on this machine: `local/lexical` needs no key, no server and no download.

Words and character 4-grams are each scored with BM25 over the candidates (Robertson and Zaragoza, "The Probabilistic
Relevance Framework: BM25 and Beyond", 2009; idf as in Lucene) and divided by the highest score that the query allows.
The score is the mean of the two.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from typing_extensions import override

from anyrerank._core.runtime import Blocking, Flow
from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.providers._base import Provider

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"\w+")
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


class Local(Provider):
    """BM25 over words and character 4-grams of the candidates. It cannot see a paraphrase: use it as a baseline.

    Scores are within 0..1: 0 for nothing in common with the query, near 1 for a document full of its words. They depend
    on the other documents of the call, because rare words are those that few candidates have.
    """

    prefix = "local"
    title = "On this machine"
    scale = "unit"
    listwise = True
    needs_key = False
    free = True
    pipeline_fuse = "rrf"

    @override
    def check(self) -> None:
        if self.connection.model != "lexical":
            raise self.configuration_error(f"the only model of local/ is local/lexical, got {self.deployment[:200]}")

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        if request.extra_body:
            raise self.bad_request("extra_body is not supported by local/lexical: no request is sent")
        scores = yield Blocking(partial(lexical_scores, request.query, texts_of(request)))
        return Answer(scores=list(enumerate(scores)))


def lexical_scores(query: str, texts: Sequence[str]) -> list[float]:
    """A score within 0..1 for each text."""
    by_word = _bm25(query, texts, _words)
    by_gram = _bm25(query, texts, _grams)
    return [(word + gram) / 2 for word, gram in zip(by_word, by_gram, strict=True)]


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _grams(text: str) -> list[str]:
    """4-grams of each word with a space on both sides: ' the', 'the ' for 'the'. Pairs in scripts without spaces."""
    grams: list[str] = []
    for word in _words(text):
        run, size = (word, 2) if _SPACELESS.search(word) else (f" {word} ", 4)
        grams.extend(run[start : start + size] for start in range(max(1, len(run) - size + 1)))
    return grams


def _bm25(query: str, texts: Sequence[str], split: Callable[[str], list[str]]) -> list[float]:
    query_terms = set(split(query))
    if not query_terms:
        return [0.0] * len(texts)
    counts, lengths = [], []
    for text in texts:
        terms = split(text)
        lengths.append(len(terms))
        counts.append(Counter(term for term in terms if term in query_terms))
    containing = Counter(term for count in counts for term in count)
    idf = {term: math.log1p((len(texts) - containing[term] + 0.5) / (containing[term] + 0.5)) for term in query_terms}
    highest = math.fsum(idf.values()) * (_K1 + 1)
    average = sum(lengths) / len(lengths) or 1.0
    scores = []
    for count, length in zip(counts, lengths, strict=True):
        norm = _K1 * (1 - _B + _B * length / average)
        total = math.fsum(idf[term] * n * (_K1 + 1) / (n + norm) for term, n in count.items())
        scores.append(total / highest)
    return scores
