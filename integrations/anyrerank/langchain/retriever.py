"""A retriever that reranks the documents of another one."""

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict, Field

from anyrerank._adapters import CheckedModel, as_list
from anyrerank._core.client import adriven, driven, paused
from anyrerank._core.types import public
from anyrerank.langchain.compressor import AnyRerank
from anyrerank.langchain.reranking import Reranking, options_given


@public("anyrerank.langchain")
class RerankRetriever(CheckedModel, BaseRetriever):
    """Retrieves with `base_retriever` and reranks what it finds.

    `invoke(query, top_n=..., user=...)` sets these for one call; other keyword arguments go to `base_retriever`.

    Example:
        >>> retriever = RerankRetriever(
        ...     base_retriever=store.as_retriever(search_kwargs={"k": 30}),
        ...     reranker=AnyRerank(model="nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2"),
        ...     top_n=5,
        ... )
    """

    model_config = ConfigDict(extra="forbid")

    base_retriever: RetrieverLike
    """A retriever, or another runnable that returns documents for a query, such as a retriever `with_retry()`."""
    reranker: AnyRerank
    """Reranks the documents."""
    top_n: int | None = Field(default=None, ge=1)
    """Overrides that of the reranker."""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        top_n: int | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        one = self._reranking(query, config, top_n, user, asynchronous=False)
        driven(one.core, one.call, one.guarded())
        found: list[LangChainDocument] = []
        if one.call.error is None:
            with paused(one.call):
                found = as_list(self.base_retriever.invoke(one.call.query, config, **kwargs))
            if not found:
                return []
        return driven(one.core, one.call, one.traced(found))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        top_n: int | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        one = self._reranking(query, config, top_n, user, asynchronous=True)
        await adriven(one.core, one.call, one.guarded())
        found: list[LangChainDocument] = []
        if one.call.error is None:
            with paused(one.call):
                found = as_list(await self.base_retriever.ainvoke(one.call.query, config, **kwargs))
            if not found:
                return []
        return await adriven(one.core, one.call, one.traced(found))

    def _reranking(
        self, query: str, config: RunnableConfig, top_n: int | None, user: str | None, *, asynchronous: bool
    ) -> Reranking:
        options = options_given({"top_n": self.top_n if top_n is None else top_n, "user": user})
        return self.reranker._reranking(query, config, options, asynchronous=asynchronous)
