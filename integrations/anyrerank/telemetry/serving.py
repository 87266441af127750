"""The span of a request that the gateway answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from anyrerank.telemetry import semconv

_propagator = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Serving:
    """A request that is being answered.

    Attributes:
        traceparent: Its span, for servers that are asked on its behalf; `None` if it is not recorded.
    """

    traceparent: str | None
    _span: trace.Span

    def answered(self, status: int) -> None:
        """Record the HTTP status of the answer."""
        self._span.set_attribute(semconv.STATUS, status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)


@contextmanager
def serving(tracer: trace.Tracer, route: str, parent: Mapping[str, str]) -> Iterator[Serving]:
    """Make the span of a request the current one inside the block.

    Args:
        tracer: Makes the span.
        route: The path, with the names of its parameters.
        parent: The headers `traceparent` and `tracestate` of the request, if it has them.
    """
    attributes = {semconv.METHOD: "POST", semconv.ROUTE: route}
    context = _propagator.extract(parent)
    with tracer.start_as_current_span(f"POST {route}", context, SpanKind.SERVER, attributes) as span:
        sent: dict[str, str] = {}
        _propagator.inject(sent)
        yield Serving(sent.get("traceparent"), span)
