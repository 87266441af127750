"""The trace of a request: from the client, through the gateway, to the provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

from anyrerank.errors import ConfigurationError
from anyrerank.telemetry import OpenTelemetry
from anyrerank.testing import StubServer

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars is the red planet"]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def models(vendor: StubServer, **more: Any) -> list[dict[str, Any]]:
    return [entry("rerank", "cohere/rerank-v3.5", api_key="k", api_base=vendor.url, **more)]


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def hook(spans: InMemorySpanExporter) -> OpenTelemetry:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return OpenTelemetry(tracer_provider=provider)


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_spans_continue_the_trace_of_the_client(
    vendor: StubServer, spans: InMemorySpanExporter, hook: OpenTelemetry
) -> None:
    with running(gateway_of(models(vendor), hooks=[hook])) as url:
        httpx.post(f"{url}/v1/rerank", json=ASK, headers={**HEADERS, "traceparent": TRACEPARENT})

    found = by_name(spans)
    server, call = found["POST /v1/rerank"], found["rerank rerank-v3.5"]
    assert server.kind == SpanKind.SERVER
    assert format(server.context.trace_id, "032x") == TRACE
    assert server.parent is not None
    assert format(server.parent.span_id, "016x") == PARENT
    assert call.parent is not None
    assert call.parent.span_id == server.context.span_id
    assert server.attributes is not None
    assert server.attributes["http.response.status_code"] == 200
    assert vendor.requests[0].headers["traceparent"] == f"00-{TRACE}-{server.context.span_id:016x}-01"


def test_request_without_a_trace_begins_one(
    vendor: StubServer, spans: InMemorySpanExporter, hook: OpenTelemetry
) -> None:
    vendor.fail(500)
    with running(gateway_of(models(vendor), hooks=[hook], num_retries=0)) as url:
        for _ in range(2):
            httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    servers = [span for span in spans.get_finished_spans() if span.kind == SpanKind.SERVER]
    assert [span.parent for span in servers] == [None, None]
    assert len({span.context.trace_id for span in servers}) == 2
    assert not servers[0].status.is_ok


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (TRACEPARENT, TRACEPARENT),
        (None, None),
        ("nonsense", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"{TRACEPARENT}-and-more", None),
    ],
)
def test_trace_is_passed_on_without_opentelemetry(given: str | None, sent: str | None, vendor: StubServer) -> None:
    with running(gateway_of(models(vendor))) as url:
        trace = {} if given is None else {"traceparent": given}
        httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, **trace})
        httpx.post(f"{url}/rerank", json=ASK, headers=HEADERS)

    first, second = vendor.requests
    assert first.headers.get("traceparent") == sent
    assert "traceparent" not in second.headers


def test_own_trace_of_a_deployment_is_kept(vendor: StubServer) -> None:
    own = f"00-{'1' * 32}-{'2' * 16}-00"
    with running(gateway_of(models(vendor, headers={"traceparent": own}))) as url:
        httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "traceparent": TRACEPARENT})

    assert vendor.requests[0].headers["traceparent"] == own


def test_deployment_can_refuse_the_trace(vendor: StubServer) -> None:
    with StubServer() as trusted:
        spare = entry("spare", "cohere/rerank-v3.5", api_key="k", api_base=trusted.url)
        vendor.fail(500)
        gateway = gateway_of([*models(vendor, forward_trace=False), spare], fallbacks=[{"rerank": ["spare"]}])
        with running(gateway) as url:
            httpx.post(f"{url}/rerank", json=ASK, headers={**HEADERS, "traceparent": TRACEPARENT})
        given = [each.headers.get("traceparent") for each in trusted.requests]

    assert {each.headers.get("traceparent") for each in vendor.requests} == {None}
    assert given == [TRACEPARENT]


def test_forward_trace_must_be_true_or_false(vendor: StubServer) -> None:
    with pytest.raises(ConfigurationError, match="forward_trace"):
        gateway_of(models(vendor, forward_trace="no"))
