"""The OpenTelemetry hook.

    Reranker("cohere/rerank-v3.5", hooks=[OpenTelemetry()])

Attributes follow the GenAI conventions (https://github.com/open-telemetry/semantic-conventions-genai), and those of
OpenInference for rerankers (https://github.com/Arize-ai/openinference), which Phoenix and others display.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from anyrerank._core.types import Attempt, public
from anyrerank.errors import MissingExtraError

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, StatusCode
except ImportError as error:
    raise MissingExtraError("OpenTelemetry is not installed: pip install 'anyrerank[otel]'") from error

from anyrerank.hooks import CallEvent
from anyrerank.telemetry import semconv
from anyrerank.telemetry.serving import Serving, serving

_NAME = "anyrerank"
_DESCRIBED = 20
"""Number of documents, and of results, in a span, so that it stays below the SDK's default limit of 128 attributes."""


@public("anyrerank.telemetry")
class OpenTelemetry:
    """A hook that records spans and metrics of calls.

    The spans are created when a call has ended, with its times, as children of the span that is current then. They
    describe the first 20 documents and the best 20 results; `anyrerank.documents` and `anyrerank.results` are the
    totals.

    Args:
        tracer_provider: By default the global one.
        meter_provider: By default the global one.
        content: Whether spans contain the query and the texts of documents.
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
        self._durations = meter.create_histogram(
            semconv.DURATION, "s", "Duration of calls.", explicit_bucket_boundaries_advisory=semconv.DURATION_BOUNDS
        )
        self._tokens = meter.create_histogram(
            semconv.TOKENS, "{token}", "Tokens used by calls.", explicit_bucket_boundaries_advisory=semconv.TOKEN_BOUNDS
        )
        self._dollars = meter.create_counter(semconv.COST, "{USD}", "Cost of calls, where it is known.")

    def __call__(self, event: CallEvent) -> None:
        """Record a call."""
        span = self._tracer.start_span(
            f"rerank {event.model}",
            kind=SpanKind.CLIENT,
            start_time=_nanoseconds(event.started),
            # an SDK with a lower limit drops the first attributes
            attributes={**dict(self._described(event)), **self._attributes(event)},
        )
        message = getattr(event.error, "message", None)
        _end(span, event.started + event.seconds, _error_type(event), message)
        context = trace.set_span_in_context(span)
        for attempt in event.attempts:
            child = self._tracer.start_span(
                f"attempt {attempt.deployment}",
                context=context,
                start_time=_nanoseconds(attempt.started),
                attributes=_of_attempt(attempt),
            )
            _end(child, attempt.started + attempt.seconds, attempt.error)
        self._count(event)

    def serving(self, route: str, parent: Mapping[str, str]) -> AbstractContextManager[Serving]:
        """The span of a request that the gateway answers; the spans of its calls are children of it.

        Args:
            route: The path, with the names of its parameters.
            parent: The headers `traceparent` and `tracestate` of the request, if it has them.
        """
        return serving(self._tracer, route, parent)

    def _attributes(self, event: CallEvent) -> dict[str, Any]:
        """The attributes of the span of a call."""
        response = event.response
        return _known(
            {
                **_common(event),
                semconv.KIND: "RERANKER",
                semconv.RERANKER_MODEL: f"{event.provider}/{event.model}",
                semconv.TOP_K: event.top_n,
                semconv.USER: event.user,
                semconv.QUERY: event.query if self._content else None,
                semconv.DOCUMENTS: len(event.documents),
                semconv.RESULTS: response and len(response.ranking),
                semconv.ANSWERED_BY: response and response.answered_by,
                semconv.CACHED: (response and response.cached) or None,
                semconv.RESPONSE_ID: response and response.id,
                semconv.INPUT_TOKENS: _input_tokens(event),
                semconv.COST: event.cost,
            }
        )

    def _described(self, event: CallEvent) -> Iterator[tuple[str, Any]]:
        """The first documents, and the best ones with their scores."""
        yield from self._documents(event, semconv.INPUT, range(len(event.documents)))
        if event.response is None:
            return
        results = event.response.ranking
        yield from self._documents(event, semconv.OUTPUT, results.indexes)
        for position, score in enumerate(results.scores[:_DESCRIBED]):
            if score is not None:
                yield f"{semconv.OUTPUT}.{position}.{semconv.DOCUMENT_SCORE}", score

    def _documents(self, event: CallEvent, prefix: str, indexes: Iterable[int]) -> Iterator[tuple[str, Any]]:
        """Documents by their index in the call, and their texts if `content` is on."""
        for position, index in enumerate(islice(indexes, _DESCRIBED)):
            yield f"{prefix}.{position}.{semconv.DOCUMENT_ID}", _id(event, index)
            text = _text(event.documents[index])
            if self._content and text is not None:
                yield f"{prefix}.{position}.{semconv.DOCUMENT_CONTENT}", text

    def _count(self, event: CallEvent) -> None:
        """The duration counts for the model that was asked first, tokens and cost for the model that used them."""
        self._durations.record(event.seconds, _common(event))
        response = event.response
        if response is not None and (tokens := _input_tokens(event)) is not None:
            used_by = _model(f"{response.provider}/{response.model}")
            of_answer = {semconv.RESPONSE_MODEL: response.model, semconv.TOKEN_TYPE: "input"}
            self._tokens.record(tokens, {semconv.OPERATION: "rerank", **used_by, **of_answer})
        for attempt in event.attempts:
            if attempt.cost:
                of_attempt = _known({**_model(attempt.deployment), semconv.ERROR: attempt.error})
                self._dollars.add(attempt.cost, {semconv.OPERATION: "rerank", **of_attempt})


def _common(event: CallEvent) -> dict[str, Any]:
    """Attributes of spans and of durations."""
    response = event.response
    from_cache = response is not None and bool(response.cached) and not event.attempts
    return _known(
        {
            semconv.OPERATION: "rerank",
            semconv.PROVIDER: event.provider,
            semconv.REQUEST_MODEL: event.model,
            semconv.RESPONSE_MODEL: response.model if response and response.answered_by else None,
            semconv.FROM_CACHE: from_cache or None,
            semconv.ERROR: _error_type(event),
        }
    )


def _model(deployment: str) -> dict[str, str]:
    """The attributes for `provider/model`."""
    provider, _, model = deployment.partition("/")
    return {semconv.PROVIDER: provider, semconv.REQUEST_MODEL: model}


def _of_attempt(attempt: Attempt) -> dict[str, Any]:
    return _known(
        {
            **_model(attempt.deployment),
            semconv.STATUS: attempt.status,
            semconv.ERROR: attempt.error,
            semconv.COST: attempt.cost,
        }
    )


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _error_type(event: CallEvent) -> str | None:
    return None if event.error is None else type(event.error).__name__


def _input_tokens(event: CallEvent) -> float | None:
    tokens = event.response.meta.tokens if event.response else None
    return tokens.input_tokens if tokens else None


def _id(event: CallEvent, index: int) -> str:
    """The id of a document: that of the framework, or the `id` of a mapping; otherwise its index in the call."""
    document = event.documents[index]
    given = event.ids[index] if event.ids else document.get("id") if isinstance(document, Mapping) else None
    return str(index if given is None else given)


def _text(document: object) -> str | None:
    """The text of a document; a call with documents of a wrong type is recorded too."""
    text = document.get("text") if isinstance(document, Mapping) else document
    return text if isinstance(text, str) else None


def _end(span: trace.Span, at: float, error: str | None, message: str | None = None) -> None:
    if error is not None:
        span.set_status(StatusCode.ERROR, message or error)
    span.end(_nanoseconds(at))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
