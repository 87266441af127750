"""Many documents: split into requests, send them side by side, halve what is too large, put the scores together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from anyrerank._core.runtime import Flow, Gather
from anyrerank._core.types import Answer, BilledUnits, Document, Meta, RerankRequest, Tokens
from anyrerank.errors import RerankError

Ask = Callable[[RerankRequest], Flow[Answer]]
"""Sends one request, retries included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What is sent of the caller's documents, and which of them each one stands for.

    Attributes:
        documents: Not blank; each text once when equal ones were merged.
        positions: For each of `documents` the places in the caller's list that get its score; `None` when every
            document is sent, each for itself.
        blank: Places of the documents that are not sent.
    """

    documents: Sequence[Document]
    positions: Sequence[Sequence[int]] | None
    blank: Sequence[int]

    def place(self, index: int) -> int:
        """The (first) place in the caller's list of `documents[index]`."""
        return index if self.positions is None else self.positions[index][0]

    def spread(self, scores: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
        """`scores` of `documents`, for each of the caller's documents that they stand for."""
        if self.positions is None:
            return scores
        return [(place, score) for index, score in scores for place in self.positions[index]]


def candidates(
    documents: Sequence[Document], blank: Sequence[int], *, key: Callable[[Document], str] | None
) -> Candidates:
    """Leave out the blank documents and, with a `key`, merge those that have the same one."""
    if key is None and not blank:
        return Candidates(documents=documents, positions=None, blank=blank)
    absent = frozenset(blank)
    groups: dict[object, list[int]] = {}
    for place, document in enumerate(documents):
        if place not in absent:
            groups.setdefault(place if key is None else key(document), []).append(place)
    positions = list(groups.values())
    return Candidates(documents=[documents[group[0]] for group in positions], positions=positions, blank=blank)


def batched(
    ask: Ask,
    request: RerankRequest,
    *,
    starts: Sequence[int],
    limit: int,
    place: Callable[[int], int],
    may_split: bool,
) -> Flow[Answer]:
    """Rank any number of documents with as many requests as `starts` has places.

    Args:
        starts: Where each request begins in the documents; the first is 0.
        limit: Most requests under way at once.
        place: From an index in `request.documents` to the caller's, for error messages.
        may_split: False for a model whose scores depend on the documents that are sent together.
    """
    halves = _Halves(ask, place, may_split=may_split)
    ends = [*starts[1:], len(request.documents)]
    flows = [halves.flow(_part(request, start, end), start) for start, end in zip(starts, ends, strict=True)]
    if len(flows) == 1:
        return (yield from flows[0])
    answers = yield Gather(flows, limit)
    return merged(answers)


@dataclass(frozen=True, slots=True)
class _Halves:
    """Asks for a part, and for its halves when it is too large."""

    ask: Ask
    place: Callable[[int], int]
    may_split: bool

    def flow(self, part: RerankRequest, offset: int) -> Flow[Answer]:
        count = len(part.documents)
        try:
            answer = yield from self.ask(part)
        except RerankError as error:
            if not (error.too_large and self.may_split):
                raise
            if count == 1:
                raise _naming(error, self.place(offset)) from error
        else:
            return _moved(answer, offset)
        first = yield from self.flow(_part(part, 0, count // 2), offset)
        second = yield from self.flow(_part(part, count // 2, count), offset + count // 2)
        return merged([first, second])


def _part(request: RerankRequest, start: int, stop: int) -> RerankRequest:
    if (start, stop) == (0, len(request.documents)):
        return request
    top_n = None if request.top_n is None else min(request.top_n, stop - start)
    return replace(request, documents=request.documents[start:stop], top_n=top_n)


def _moved(answer: Answer, offset: int) -> Answer:
    return replace(answer, scores=[(index + offset, score) for index, score in answer.scores]) if offset else answer


def _naming(error: RerankError, place: int) -> RerankError:
    """`error`, saying which of the caller's documents it is about."""
    named = copy.copy(error)
    named.message = f"documents[{place}] is too large for the provider: {error.message}"
    return named


def merged(answers: Sequence[Answer]) -> Answer:
    """One answer of several: all scores, usage added up, the last request's id."""
    return Answer(
        scores=[pair for answer in answers for pair in answer.scores],
        meta=added([answer.meta for answer in answers]),
        request_id=next((a.request_id for a in reversed(answers) if a.request_id), None),
    )


def added(metas: Sequence[Meta]) -> Meta:
    """Usage added up; what any of them leaves out is left out of the sum too, rather than be too small."""
    billed = [meta.billed_units or BilledUnits() for meta in metas]
    tokens = [meta.tokens or Tokens() for meta in metas]
    units = BilledUnits(
        search_units=_sum([b.search_units for b in billed]), total_tokens=_sum([b.total_tokens for b in billed])
    )
    counts = Tokens(
        input_tokens=_sum([t.input_tokens for t in tokens]), output_tokens=_sum([t.output_tokens for t in tokens])
    )
    versions: Mapping[str, object] | None = next((meta.api_version for meta in metas if meta.api_version), None)
    return Meta(
        billed_units=None if units == BilledUnits() else units,
        tokens=None if counts == Tokens() else counts,
        api_version=versions,
        warnings=tuple(dict.fromkeys(warning for meta in metas for warning in meta.warnings)),
        estimated=any(meta.estimated for meta in metas),
    )


def _sum(numbers: Sequence[int | float | None]) -> int | float | None:
    known = [n for n in numbers if n is not None]
    return sum(known) if len(known) == len(numbers) else None
