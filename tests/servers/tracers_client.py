"""Reranks under the tracers that users have, sync and async, and prints what they got and what was logged, as JSON.

The first argument names the tracer, the second one a folder with the package.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[2])
os.environ["LANGSMITH_TRACING"] = "false"

from langchain_core.documents import Document  # noqa: E402
from llama_index.core.schema import NodeWithScore, TextNode  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

from anyrerank import langchain, llama_index  # noqa: E402

QUERY = "Which planet is red?"
TEXTS = ["Venus is hot.", "Mars is the red planet.", ""]
DOCUMENTS = [Document(text) for text in TEXTS]
NODES = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]


class Logged(logging.Handler):
    """Keeps what is logged at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


def in_langchain(callbacks: list[Any] | None = None) -> None:
    adapter = langchain.AnyRerank(model="local/lexical")
    adapter.compress_documents(DOCUMENTS, QUERY, callbacks=callbacks)
    asyncio.run(adapter.acompress_documents(DOCUMENTS, QUERY, callbacks=callbacks))


def in_llama_index() -> None:
    adapter = llama_index.AnyRerank(model="local/lexical", top_n=2)
    adapter.postprocess_nodes(NODES, query_str=QUERY)
    asyncio.run(adapter.apostprocess_nodes(NODES, query_str=QUERY))


def openinference_langchain(provider: TracerProvider) -> None:
    from openinference.instrumentation.langchain import LangChainInstrumentor  # type: ignore[import-not-found, import-untyped, unused-ignore]

    LangChainInstrumentor().instrument(tracer_provider=provider)
    in_langchain()


def openinference_llama_index(provider: TracerProvider) -> None:
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor  # type: ignore[import-not-found, import-untyped, unused-ignore]

    LlamaIndexInstrumentor().instrument(tracer_provider=provider)
    in_llama_index()


def langfuse(provider: TracerProvider) -> None:
    from langfuse import Langfuse  # type: ignore[import-not-found, import-untyped, unused-ignore]
    from langfuse.langchain import CallbackHandler  # type: ignore[import-not-found, import-untyped, unused-ignore]

    Langfuse(public_key="pk", secret_key="sk", tracer_provider=provider, base_url="http://127.0.0.1:9")
    in_langchain([CallbackHandler()])


def langsmith(provider: TracerProvider) -> list[dict[str, Any]]:
    from unittest.mock import MagicMock

    from langchain_core.tracers import LangChainTracer
    from langsmith import Client

    session = MagicMock()
    client = Client(api_url="http://127.0.0.1:9", api_key="key", session=session, auto_batch_tracing=False)
    in_langchain([LangChainTracer(client=client)])
    sent = [json.loads(call.kwargs["data"]) for call in session.request.mock_calls if "data" in call.kwargs]
    return [{"name": each.get("name"), "attributes": each} for each in sent if each.get("name")]


TRACERS: dict[str, Callable[[TracerProvider], list[dict[str, Any]] | None]] = {
    "openinference in langchain": openinference_langchain,
    "openinference in llama_index": openinference_llama_index,
    "langfuse": langfuse,
    "langsmith": langsmith,
}


def main() -> None:
    logged, exporter, provider = Logged(), InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    logging.getLogger().addHandler(logged)
    spans = TRACERS[sys.argv[1]](provider)
    if spans is None:
        spans = [
            {"name": span.name, "attributes": dict(span.attributes or {})} for span in exporter.get_finished_spans()
        ]
    json.dump({"spans": spans, "logged": logged.lines}, sys.stdout, default=str)


if __name__ == "__main__":
    main()
