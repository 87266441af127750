"""Batches: split documents into requests, send them concurrently, halve those that are too large, merge the answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from anyrerank._core.runtime import Flow, Gather
from anyrerank._core.types import Answer, BilledUnits, Meta, RerankRequest, Tokens
from anyrerank.errors import RerankError

Send = Callable[[RerankRequest], Flow[Answer]]
"""Sends one request, with retries."""


def batched(
    send: Send,
    request: RerankRequest,
    *,
    starts: Sequence[int],
    limit: int,
    index_of: Callable[[int], int],
    may_split: bool,
) -> Flow[Answer]:
    """Rank any number of documents with one request per entry of `starts`.

    Args:
        send: Sends one request, with retries.
        request: All documents.
        starts: Index of the first document of each request; the first one is 0.
        limit: Maximum number of concurrent requests.
        index_of: Maps an index in `request.documents` to the index in the call, for error messages.
        may_split: False for a listwise model, whose documents must be sent in one request.
    """
    if not may_split:
        return send(request)
    ends = [*starts[1:], len(request.documents)]
    parts = zip(starts, ends, strict=True)
    flows = [_sent_or_halved(send, index_of, part_of(request, start, end), start) for start, end in parts]
    return flows[0] if len(flows) == 1 else _gathered(flows, limit)


def _gathered(flows: Sequence[Flow[Answer]], limit: int) -> Flow[Answer]:
    answers = yield Gather(flows, limit)
    return merged(answers)


def _sent_or_halved(send: Send, index_of: Callable[[int], int], part: RerankRequest, offset: int) -> Flow[Answer]:
    """The answer to a part of a request that begins at `offset`, or to its halves if it is too large."""
    try:
        answer = yield from send(part)
    except RerankError as error:
        if not error.too_large:
            raise
        if len(part.documents) == 1:
            raise _naming_document(error, index_of(offset)) from error
    else:
        return _moved(answer, offset)
    count, middle = len(part.documents), len(part.documents) // 2
    first = yield from _sent_or_halved(send, index_of, part_of(part, 0, middle), offset)
    second = yield from _sent_or_halved(send, index_of, part_of(part, middle, count), offset + middle)
    return merged([first, second])


def part_of(request: RerankRequest, start: int, stop: int) -> RerankRequest:
    """The request for some of the documents."""
    if (start, stop) == (0, len(request.documents)):
        return request
    top_n = None if request.top_n is None else min(request.top_n, stop - start)
    return replace(request, documents=request.documents[start:stop], top_n=top_n)


def _moved(answer: Answer, offset: int) -> Answer:
    if not offset:
        return answer
    spans = {index + offset: found for index, found in answer.spans.items()}
    return replace(answer, scores=[(index + offset, score) for index, score in answer.scores], spans=spans)


def _naming_document(error: RerankError, index: int) -> RerankError:
    """A copy of `error` that says which document of the call is too large."""
    named = copy.copy(error)
    named.message = f"documents[{index}] is too large for the provider: {error.message}"
    return named


def merged(answers: Sequence[Answer]) -> Answer:
    """One answer with all scores, the sum of the usage, and the id of the last request."""
    return Answer(
        scores=[pair for answer in answers for pair in answer.scores],
        spans={index: found for answer in answers for index, found in answer.spans.items()},
        meta=total_usage([answer.meta for answer in answers]),
        request_id=next((a.request_id for a in reversed(answers) if a.request_id), None),
    )


def total_usage(metas: Sequence[Meta]) -> Meta:
    """The sum of the usage; a number that one answer lacks is left out, because the sum would be too small."""
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
