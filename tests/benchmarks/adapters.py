"""The time that the adapters for LangChain and LlamaIndex add to a call of the core, with 1,000 documents.

The answer comes from memory, so the figures hold the work of httpx and our own only. Nothing waits, so it is CPU time
that is measured: other processes do not count.
"""

from __future__ import annotations

import time

import httpx
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import SecretStr

from anyrerank import Reranker
from anyrerank.langchain import AnyRerank as Compressor
from anyrerank.llama_index import AnyRerank as Postprocessor
from tests.benchmarks.figures import Figure, adds
from tests.benchmarks.loopback import KEY, MODEL, QUERY, texts
from tests.benchmarks.server import scores_of
from tests.benchmarks.turns import seconds

_COUNT = 1000
_TIMES = 150


def run() -> list[Figure]:
    written = texts(_COUNT)
    documents = [Document(page_content=text, metadata={"number": number}) for number, text in enumerate(written)]
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in written]
    content = scores_of(_COUNT)
    answering = httpx.MockTransport(lambda request: httpx.Response(200, content=content))
    with httpx.Client(transport=answering) as client:
        core = Reranker(MODEL, api_key=KEY, http_client=client)
        compressor = Compressor(model=MODEL, api_key=SecretStr(KEY), http_client=client)
        postprocessor = Postprocessor(model=MODEL, api_key=SecretStr(KEY), http_client=client)

        def alone() -> object:
            return core.rerank(QUERY, written).results[0]

        def in_langchain() -> object:
            return compressor.compress_documents(documents, QUERY)[0]

        def in_llama_index() -> object:
            return postprocessor.postprocess_nodes(nodes, query_str=QUERY)[0]

        took = seconds([alone, in_langchain, in_llama_index], times=_TIMES, clock=time.process_time)
    core_ms, langchain_ms, llama_index_ms = (1000 * each for each in took)
    return [
        adds("adapters", "LangChain, 1,000 documents, Reranker.rerank", langchain_ms, core_ms, "ms", limit=2),
        adds("adapters", "LlamaIndex, 1,000 nodes, Reranker.rerank", llama_index_ms, core_ms, "ms", limit=2),
    ]
