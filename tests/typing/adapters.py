"""Checked by mypy, never run: which keyword arguments the adapters take."""

from pathlib import Path

import httpx
from haystack.utils import Secret
from langchain_core.retrievers import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import MetadataMode
from pydantic import SecretStr

from anyrerank import MemoryCache, Reranker, Router, haystack, langchain, llama_index

COHERE = "cohere/rerank-v3.5"


def compressor(client: httpx.AsyncClient, router: Router) -> None:
    langchain.AnyRerank(model=COHERE, api_key="k", base_url="http://x", max_tokens_per_doc=3, rank_fields=["title"])
    langchain.AnyRerank(model="m", custom_llm_provider="cohere", api_key=SecretStr("k"), truncate=False)
    langchain.AnyRerank(model="bedrock/m", aws_region_name="us-west-2", credentials={"a": 1}, options={"b": 2})
    langchain.AnyRerank(model=COHERE, timeout=httpx.Timeout(3), num_retries=1, extra_headers={"a": "b"})
    langchain.AnyRerank(model=COHERE, http_client=client, cache=MemoryCache(), prices=Path("prices.json"))
    langchain.AnyRerank(model=COHERE, fallbacks=["local/lexical", Reranker(COHERE)], keep_retrieval_score=True)
    langchain.AnyRerank(model=COHERE, text_fn=lambda document: document.page_content, metadata_key="score")
    langchain.AnyRerank(reranker=router, model="name", trace_as="retriever", trace_content=False)
    langchain.AnyRerank(model=COHERE, topn=3)  # type: ignore[call-arg]
    langchain.AnyRerank(model=COHERE, top_n="3")  # type: ignore[arg-type]
    langchain.AnyRerank(model=COHERE, images="skip")  # type: ignore[call-arg]


def postprocessor(router: Router) -> None:
    llama_index.AnyRerank(model=COHERE, api_key="k", base_url="http://x", callback_manager=CallbackManager())
    llama_index.AnyRerank(reranker=router, metadata_mode=MetadataMode.LLM, images="skip")
    llama_index.AnyRerank(model=COHERE, metadata_mode="llm", text_fn=lambda node: node.get_content())
    llama_index.AnyRerank(model=COHERE, images="none")  # type: ignore[arg-type]
    llama_index.AnyRerank(model=COHERE, trace_as="chain")  # type: ignore[call-arg]


def retriever(base: BaseRetriever, reranker: langchain.AnyRerank) -> None:
    langchain.RerankRetriever(base_retriever=base, reranker=reranker, top_n=3, tags=["a"])
    langchain.RerankRetriever(base_retriever=base, reranker=reranker, topn=3)  # type: ignore[call-arg]


def ranker(router: Router) -> None:
    haystack.AnyRerank(COHERE, api_key=Secret.from_env_var("KEY"), top_k=3, max_tokens_per_doc=3)
    haystack.AnyRerank(reranker=router, text_fn=lambda document: document.content or "")
    haystack.AnyRerank(COHERE, api_key="k")  # type: ignore[arg-type]
    haystack.AnyRerank(COHERE, top_k="3")  # type: ignore[arg-type]
