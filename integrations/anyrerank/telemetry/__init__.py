"""OpenTelemetry: a span for each call, a child span for each attempt, and metrics (`pip install 'anyrerank[otel]'`).

What to use when:

- Without a framework: the hook `OpenTelemetry`. It records no texts unless `content=True`.
- In LlamaIndex: OpenInference's instrumentor records each rerank with its nodes and scores. The hook adds a child span
  with the cost and the attempts, so use both.
- In LangChain: OpenInference's instrumentor, LangSmith and Langfuse record each rerank with its documents, scores, cost
  and attempts, as a chain (or as a retriever, with `trace_as="retriever"`). Their spans are not always the current
  ones, so those of the hook may become separate traces. For metrics without spans, use
  `OpenTelemetry(tracer_provider=opentelemetry.trace.NoOpTracerProvider())`.
"""

from anyrerank.telemetry.opentelemetry import OpenTelemetry
from anyrerank.telemetry.serving import Serving

__all__ = ["OpenTelemetry", "Serving"]
