"""The spans and metrics that an OpenTelemetry SDK receives."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from langchain_core.documents import Document
from openinference.semconv.trace import (
    DocumentAttributes,
    OpenInferenceSpanKindValues,
    RerankerAttributes,
    SpanAttributes,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay

from anyrerank import BadRequestError, MemoryCache, RateLimitError, Reranker, RerankError
from anyrerank.langchain import AnyRerank
from anyrerank.telemetry import OpenTelemetry, semconv
from anyrerank.testing import fake_provider

ROWS = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]
BODY = {
    "id": "c-1",
    "results": ROWS,
    "meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 40}},
}
OK = {"response": {"status": 200, "json": BODY}}
LIMITED = {"response": {"status": 429, "headers": {"retry-after": "0"}, "json": {"message": "slow down"}}}


class Sdk:
    """An SDK that keeps spans and metrics in memory."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(**options)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def hook(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def spans(self) -> dict[str, list[ReadableSpan]]:
        """Spans by the first word of their name."""
        found: dict[str, list[ReadableSpan]] = {}
        for span in self.exporter.get_finished_spans():
            found.setdefault(span.name.split()[0], []).append(span)
        return found

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: next(iter(metric.data.data_points))
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        """The points of a metric, one for each set of attributes."""
        data = self.reader.get_metrics_data()
        assert data is not None
        (scope,) = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return [point for metric in scope.metrics if metric.name == name for point in metric.data.data_points]


@pytest.fixture
def sdk() -> Sdk:
    return Sdk()


def ask(mode: Mode, sdk: Sdk, exchanges: list[Any], hook: OpenTelemetry | None = None, **options: Any) -> None:
    client = Replay(exchanges).client(mode)
    reranker = mode.reranker(http_client=client, hooks=[hook or sdk.hook()], **options)
    with suppress(RerankError):
        mode.rerank(reranker, QUERY, DOCUMENTS)


def test_call_has_a_span_with_a_child_per_attempt(mode: Mode, sdk: Sdk, waits: list[float]) -> None:
    ask(mode, sdk, [LIMITED, OK], max_retries=1, top_n=2, user="ann")
    (call,), attempts = sdk.spans()["rerank"], sdk.spans()["attempt"]
    assert (call.name, call.kind) == ("rerank rerank-v3.5", SpanKind.CLIENT)
    assert call.attributes is not None
    assert (
        call.attributes.items()
        >= {
            semconv.OPERATION: "rerank",
            semconv.PROVIDER: "cohere",
            semconv.REQUEST_MODEL: "rerank-v3.5",
            semconv.RESPONSE_MODEL: "rerank-v3.5",
            "anyrerank.answered_by": "cohere/rerank-v3.5",
            semconv.RESPONSE_ID: "c-1",
            semconv.INPUT_TOKENS: 40,
            semconv.COST: 0.002,
            SpanAttributes.USER_ID: "ann",
            SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.RERANKER.value,
            RerankerAttributes.RERANKER_MODEL_NAME: "cohere/rerank-v3.5",
            RerankerAttributes.RERANKER_TOP_K: 2,
        }.items()
    )
    assert [(span.attributes or {}).get(semconv.STATUS) for span in attempts] == [429, 200]
    assert [(span.attributes or {}).get(semconv.ERROR) for span in attempts] == ["RateLimitError", None]
    assert [span.status.status_code for span in (call, *attempts)] == [
        StatusCode.UNSET,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    for span in attempts:
        assert span.parent is not None
        assert call.context is not None
        assert span.parent.span_id == call.context.span_id
        assert (call.start_time or 0) <= (span.start_time or 0) <= (span.end_time or 0)


def test_documents_have_the_index_of_the_call(mode: Mode, sdk: Sdk) -> None:
    ask(mode, sdk, [OK], top_n=2)
    (call,) = sdk.spans()["rerank"]
    attributes = call.attributes or {}
    prefix, number = RerankerAttributes.RERANKER_OUTPUT_DOCUMENTS, DocumentAttributes.DOCUMENT_ID
    assert [attributes[f"{prefix}.{position}.{number}"] for position in range(2)] == ["1", "0"]
    score = DocumentAttributes.DOCUMENT_SCORE
    assert [attributes[f"{prefix}.{position}.{score}"] for position in range(2)] == [0.9, 0.2]
    assert attributes[f"{RerankerAttributes.RERANKER_INPUT_DOCUMENTS}.2.{number}"] == "2"


def test_content_is_off_by_default(mode: Mode, sdk: Sdk) -> None:
    ask(mode, sdk, [OK], top_n=2)
    shown = "".join(span.to_json() for spans in sdk.spans().values() for span in spans)
    assert not [text for text in (QUERY, *DOCUMENTS, KEY) if text in shown]
    sdk.exporter.clear()
    ask(mode, sdk, [OK], sdk.hook(content=True), top_n=2)
    (call,) = sdk.spans()["rerank"]
    attributes = call.attributes or {}
    assert attributes[RerankerAttributes.RERANKER_QUERY] == QUERY
    content = DocumentAttributes.DOCUMENT_CONTENT
    assert attributes[f"{RerankerAttributes.RERANKER_INPUT_DOCUMENTS}.0.{content}"] == DOCUMENTS[0]
    assert attributes[f"{RerankerAttributes.RERANKER_OUTPUT_DOCUMENTS}.0.{content}"] == DOCUMENTS[1]


FIXED = {
    semconv.PROVIDER: "local",
    semconv.KIND: "RERANKER",
    semconv.RESPONSE_MODEL: "lexical",
    semconv.USER: "ann",
    "anyrerank.documents": 200,
    "anyrerank.results": 150,
}


def of_many(sdk: Sdk) -> ReadableSpan:
    """The span of a call with 200 documents, of which the last is the best."""
    with Reranker("local/lexical", hooks=[sdk.hook(content=True)], top_n=150) as reranker:
        reranker.rerank("last", [*map(str, range(199)), "last"], user="ann")
    (span,) = sdk.spans()["rerank"]
    return span


def test_first_and_best_of_many_documents_are_described(sdk: Sdk, caplog: pytest.LogCaptureFixture) -> None:
    span = of_many(sdk)
    attributes = span.attributes or {}
    assert attributes.items() >= FIXED.items()
    assert (span.dropped_attributes, caplog.records) == (0, [])
    for prefix, first in ((semconv.INPUT, "0"), (semconv.OUTPUT, "199")):
        ids = [attributes.get(f"{prefix}.{position}.{semconv.DOCUMENT_ID}") for position in range(200)]
        assert ids[0] == first
        assert (None in ids[:20], ids[20:]) == (False, [None] * 180)
        assert sum(name.startswith(prefix) and name.endswith(semconv.DOCUMENT_CONTENT) for name in attributes) == 20
    assert sum(name.endswith(semconv.DOCUMENT_SCORE) for name in attributes) == 20


def test_lower_attribute_limit_keeps_the_attributes_of_the_call() -> None:
    span = of_many(Sdk(span_limits=SpanLimits(max_span_attributes=20)))
    assert span.dropped_attributes
    assert (span.attributes or {}).items() >= FIXED.items()


@pytest.mark.parametrize("content", [False, True])
def test_call_with_wrong_documents_has_a_span(sdk: Sdk, content: bool) -> None:
    wrong: Any = ["a", 5, {"text": 7}, None]
    with pytest.raises(BadRequestError):
        Reranker("local/lexical", hooks=[sdk.hook(content=content)]).rerank("a", wrong)
    (span,) = sdk.spans()["rerank"]
    attributes = span.attributes or {}
    assert (attributes[semconv.ERROR], attributes["anyrerank.documents"]) == ("BadRequestError", 4)
    assert attributes[f"{semconv.INPUT}.3.{semconv.DOCUMENT_ID}"] == "3"
    texts = [value for name, value in attributes.items() if name.endswith(semconv.DOCUMENT_CONTENT)]
    assert texts == (["a"] if content else [])


def test_failure_sets_status_and_error_type(mode: Mode, sdk: Sdk) -> None:
    ask(mode, sdk, [LIMITED])
    (call,) = sdk.spans()["rerank"]
    assert call.status.status_code is StatusCode.ERROR
    assert call.status.description == "Cohere answered 429: slow down"
    assert (call.attributes or {})[semconv.ERROR] == "RateLimitError"
    assert sdk.metrics()[semconv.DURATION].attributes[semconv.ERROR] == "RateLimitError"


def test_span_is_a_child_of_the_current_one(mode: Mode, sdk: Sdk) -> None:
    with sdk.tracers.get_tracer("caller").start_as_current_span("retrieval") as outer:
        ask(mode, sdk, [OK], top_n=2)
    (call,) = sdk.spans()["rerank"]
    assert call.parent is not None
    assert call.parent.span_id == outer.get_span_context().span_id


def test_metrics_count_duration_tokens_and_cost(mode: Mode, sdk: Sdk) -> None:
    ask(mode, sdk, [OK], top_n=2)
    found = sdk.metrics()
    named = {semconv.OPERATION: "rerank", semconv.PROVIDER: "cohere", semconv.REQUEST_MODEL: "rerank-v3.5"}
    answered = {**named, semconv.RESPONSE_MODEL: "rerank-v3.5"}
    assert (found[semconv.DURATION].count, dict(found[semconv.DURATION].attributes)) == (1, answered)
    assert found[semconv.TOKENS].sum == 40
    assert dict(found[semconv.TOKENS].attributes) == {**answered, semconv.TOKEN_TYPE: "input"}
    assert (found[semconv.COST].value, dict(found[semconv.COST].attributes)) == (0.002, named)


def test_histograms_have_the_bounds_of_the_conventions(mode: Mode, sdk: Sdk) -> None:
    ask(mode, sdk, [OK], top_n=2)
    found = sdk.metrics()
    assert found[semconv.DURATION].explicit_bounds[:3] == (0.01, 0.02, 0.04)
    assert (found[semconv.DURATION].explicit_bounds[-1], len(found[semconv.DURATION].explicit_bounds)) == (81.92, 14)
    assert found[semconv.TOKENS].explicit_bounds[:3] == (1, 4, 16)
    assert (found[semconv.TOKENS].explicit_bounds[-1], len(found[semconv.TOKENS].explicit_bounds)) == (67108864, 14)


def test_tokens_and_cost_of_a_fallback_count_for_the_fallback(mode: Mode, sdk: Sdk) -> None:
    limited = fake_provider()
    limited.fail(RateLimitError)
    spare = Reranker("cohere/rerank-v3.5", api_key=KEY, http_client=Replay([OK]).client(mode))
    reranker = mode.reranker(
        "fake/first",
        custom_llm_provider=limited,
        fallbacks=[spare],
        http_client=Replay([OK]).client(mode),
        hooks=[sdk.hook()],
    )
    mode.rerank(reranker, QUERY, DOCUMENTS, top_n=2)
    found, (call,) = sdk.metrics(), sdk.spans()["rerank"]
    asked = {semconv.OPERATION: "rerank", semconv.PROVIDER: "fake", semconv.REQUEST_MODEL: "first"}
    used = {semconv.OPERATION: "rerank", semconv.PROVIDER: "cohere", semconv.REQUEST_MODEL: "rerank-v3.5"}
    answered = {semconv.RESPONSE_MODEL: "rerank-v3.5"}
    assert dict(found[semconv.DURATION].attributes) == {**asked, **answered}
    assert dict(found[semconv.TOKENS].attributes) == {**used, **answered, semconv.TOKEN_TYPE: "input"}
    assert dict(found[semconv.COST].attributes) == used
    named = {**asked, **answered, "anyrerank.answered_by": "cohere/rerank-v3.5"}
    assert (call.attributes or {}).items() >= named.items()


def test_call_whose_scores_are_all_cached_says_so(mode: Mode, sdk: Sdk) -> None:
    fake, options = fake_provider(), {"cache": MemoryCache(), "hooks": [sdk.hook()]}
    reranker = mode.reranker("fake/any", custom_llm_provider=fake, **options)
    for documents in (DOCUMENTS[:2], DOCUMENTS, DOCUMENTS):
        mode.rerank(reranker, QUERY, documents)
    spans = [span.attributes or {} for span in sdk.spans()["rerank"]]
    assert [(each.get("anyrerank.cached"), each.get("anyrerank.from_cache")) for each in spans] == [
        (None, None),
        (2, None),
        (3, True),
    ]
    assert {point.attributes.get("anyrerank.from_cache"): point.count for point in sdk.points(semconv.DURATION)} == {
        None: 2,
        True: 1,
    }


def test_degraded_call_has_no_model_that_answered(mode: Mode, sdk: Sdk) -> None:
    ask(mode, sdk, [LIMITED], on_error="passthrough")
    (call,) = sdk.spans()["rerank"]
    attributes = call.attributes or {}
    assert attributes[semconv.ERROR] == "RateLimitError"
    assert {semconv.RESPONSE_MODEL, "anyrerank.answered_by"}.isdisjoint(attributes)
    assert dict(sdk.metrics()[semconv.DURATION].attributes)[semconv.ERROR] == "RateLimitError"


def test_documents_have_the_ids_that_they_have(mode: Mode, sdk: Sdk) -> None:
    documents = [{"id": "a-1", "text": "one"}, {"text": "two"}, "three"]
    mode.rerank(mode.reranker("local/lexical", hooks=[sdk.hook()]), "one", documents)
    item = Document("a city", id="doc-7")
    AnyRerank(model="local/lexical", hooks=[sdk.hook()]).compress_documents([item, Document("a town")], "a city")
    of_mappings, of_framework = (span.attributes or {} for span in sdk.spans()["rerank"])
    names = [f"{semconv.INPUT}.{position}.{semconv.DOCUMENT_ID}" for position in range(3)]
    assert [of_mappings[name] for name in names] == ["a-1", "1", "2"]
    assert [of_framework.get(name) for name in names] == ["doc-7", "1", None]


def test_no_op_tracer_records_metrics_only(mode: Mode, sdk: Sdk) -> None:
    hook = OpenTelemetry(tracer_provider=NoOpTracerProvider(), meter_provider=sdk.meters)
    ask(mode, sdk, [OK], hook, top_n=2)
    assert (sdk.spans(), sdk.metrics()[semconv.DURATION].count) == ({}, 1)


def test_attribute_names_are_those_of_openinference() -> None:
    assert semconv.KIND == SpanAttributes.OPENINFERENCE_SPAN_KIND
    assert semconv.USER == SpanAttributes.USER_ID
    assert (semconv.RERANKER_MODEL, semconv.TOP_K, semconv.QUERY, semconv.INPUT, semconv.OUTPUT) == (
        RerankerAttributes.RERANKER_MODEL_NAME,
        RerankerAttributes.RERANKER_TOP_K,
        RerankerAttributes.RERANKER_QUERY,
        RerankerAttributes.RERANKER_INPUT_DOCUMENTS,
        RerankerAttributes.RERANKER_OUTPUT_DOCUMENTS,
    )
    assert (semconv.DOCUMENT_ID, semconv.DOCUMENT_CONTENT, semconv.DOCUMENT_SCORE) == (
        DocumentAttributes.DOCUMENT_ID,
        DocumentAttributes.DOCUMENT_CONTENT,
        DocumentAttributes.DOCUMENT_SCORE,
    )
