"""OpenTelemetry: a span for each call, with a child for each try, and metrics (`pip install 'anyrerank[otel]'`).

    Reranker("cohere/rerank-v3.5", hooks=[OpenTelemetry()])

Attributes are those of the GenAI conventions (https://github.com/open-telemetry/semantic-conventions-genai), and of
OpenInference for rerankers (https://github.com/Arize-ai/openinference), which Phoenix and others draw. Each document is
several of them, so that the first 20 are described, and the 20 best; `anyrerank.documents` and `anyrerank.results` say
how many there were. The spans are made when a call is over, with the times that it took, as children of what was
current then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from anyrerank._core.types import public
from anyrerank.errors import MissingExtraError

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, StatusCode
except ImportError as error:
    raise MissingExtraError("OpenTelemetry is not installed: pip install 'anyrerank[otel]'") from error

from anyrerank._core.types import Attempt
from anyrerank.hooks import CallEvent
from anyrerank.telemetry import semconv

_NAME = "anyrerank"
_DESCRIBED = 20
"""Documents, and as many results: with all that is said of each, fewer than the 128 attributes that an SDK keeps."""


@public("anyrerank.telemetry")
class OpenTelemetry:
    """A hook that makes spans and metrics of calls.

    Args:
        tracer_provider: By default the global one.
        meter_provider: By default the global one.
        content: Whether query and documents go into the spans. Off by default: traces are read by many.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        content: bool = False,
    ) -> None:
        self._content = content
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._durations = meter.create_histogram(semconv.DURATION, "s", "How long calls took.")
        self._tokens = meter.create_histogram(semconv.TOKENS, "{token}", "How many tokens calls used.")
        self._dollars = meter.create_counter(semconv.COST, "{USD}", "What calls cost, where that is known.")

    def __call__(self, event: CallEvent) -> None:
        """Make the spans of a call and count it."""
        span = self._tracer.start_span(
            f"rerank {event.model}",
            kind=SpanKind.CLIENT,
            start_time=_ns(event.started),
            # an SDK with room for fewer drops those that come first
            attributes={**dict(self._described(event)), **dict(self._attributes(event))},
        )
        _end(span, event.started + event.seconds, None if event.error is None else type(event.error).__name__, event)
        inside = trace.set_span_in_context(span)
        for attempt in event.attempts:
            child = self._tracer.start_span(
                f"try {attempt.deployment}",
                context=inside,
                start_time=_ns(attempt.started),
                attributes=dict(_of_attempt(attempt)),
            )
            _end(child, attempt.started + attempt.seconds, attempt.error)
        self._count(event)

    def _attributes(self, event: CallEvent) -> Iterator[tuple[str, Any]]:
        response = event.response
        yield semconv.OPERATION, "rerank"
        yield semconv.PROVIDER, event.provider
        yield semconv.REQUEST_MODEL, event.model
        yield semconv.KIND, "RERANKER"
        yield semconv.RERANKER_MODEL, f"{event.provider}/{event.model}"
        if event.top_n is not None:
            yield semconv.TOP_K, event.top_n
        if event.user is not None:
            yield semconv.USER, event.user
        if event.error is not None:
            yield semconv.ERROR, type(event.error).__name__
        if self._content:
            yield semconv.QUERY, event.query
        yield semconv.DOCUMENTS, len(event.documents)
        if response is None:
            return
        yield semconv.RESULTS, len(response.results)
        yield semconv.RESPONSE_MODEL, f"{response.provider}/{response.model}"
        yield semconv.RESPONSE_ID, response.id
        if response.meta.tokens and response.meta.tokens.input_tokens is not None:
            yield semconv.INPUT_TOKENS, response.meta.tokens.input_tokens
        if response.cost is not None:
            yield semconv.COST, response.cost

    def _described(self, event: CallEvent) -> Iterator[tuple[str, Any]]:
        """The first documents, the best ones, and the scores of these."""
        yield from self._documents(event, semconv.INPUT, range(len(event.documents)))
        if event.response is None:
            return
        found = event.response.results
        yield from self._documents(event, semconv.OUTPUT, found.indexes)
        for place, score in enumerate(found.scores[:_DESCRIBED]):
            if score is not None:
                yield f"{semconv.OUTPUT}.{place}.{semconv.DOCUMENT_SCORE}", score

    def _documents(self, event: CallEvent, prefix: str, indexes: Iterable[int]) -> Iterator[tuple[str, Any]]:
        """The documents by their places in the caller's list, with their texts if content is wanted."""
        for place, index in enumerate(islice(indexes, _DESCRIBED)):
            yield f"{prefix}.{place}.{semconv.DOCUMENT_ID}", str(index)
            text = _text(event.documents[index])
            if self._content and text is not None:
                yield f"{prefix}.{place}.{semconv.DOCUMENT_CONTENT}", text

    def _count(self, event: CallEvent) -> None:
        named = {
            semconv.OPERATION: "rerank",
            semconv.PROVIDER: event.provider,
            semconv.REQUEST_MODEL: event.model,
            **({} if event.error is None else {semconv.ERROR: type(event.error).__name__}),
        }
        self._durations.record(event.seconds, named)
        tokens = event.response.meta.tokens if event.response else None
        if tokens and tokens.input_tokens is not None:
            self._tokens.record(tokens.input_tokens, {**named, semconv.TOKEN_TYPE: "input"})
        if event.cost:
            self._dollars.add(event.cost, named)


def _text(document: object) -> str | None:
    """The text of a document, if it has one: that of a call that was refused may be anything."""
    text = document.get("text") if isinstance(document, Mapping) else document
    return text if isinstance(text, str) else None


def _of_attempt(attempt: Attempt) -> Iterator[tuple[str, Any]]:
    provider, _, model = attempt.deployment.partition("/")
    yield semconv.PROVIDER, provider
    yield semconv.REQUEST_MODEL, model
    if attempt.status is not None:
        yield semconv.STATUS, attempt.status
    if attempt.error is not None:
        yield semconv.ERROR, attempt.error
    if attempt.cost is not None:
        yield semconv.COST, attempt.cost


def _end(span: trace.Span, at: float, error: str | None, event: CallEvent | None = None) -> None:
    if error is not None:
        message = getattr(event.error, "message", None) if event else None
        span.set_status(StatusCode.ERROR, message or error)
    span.end(_ns(at))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
