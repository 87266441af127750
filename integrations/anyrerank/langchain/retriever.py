"""A retriever that reranks the documents of another one."""

from collections.abc import Mapping, Set
from inspect import signature
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict, Field

from anyrerank._adapters import CheckedModel, as_list
from anyrerank._core.client import adriven, driven, paused
from anyrerank._core.engine import Options
from anyrerank._core.types import public
from anyrerank.langchain.compressor import AnyRerank
from anyrerank.langchain.reranking import Reranking, options_given


@public("anyrerank.langchain")
class RerankRetriever(CheckedModel, BaseRetriever):
    """Retrieves with `base_retriever` and reranks what it finds.

    Keyword arguments of `invoke` that are options of a call to `anyrerank.Reranker`, such as `top_n`, `user` and
    `score_threshold`, set these for one call. The others, and `limit`, go to `base_retriever`; so do those that its own
    parameters name.

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
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        one, others = self._reranking(query, config, kwargs, asynchronous=False)
        driven(one.core, one.call, one.guarded())
        found: list[LangChainDocument] = []
        if one.call.error is None:
            with paused(one.call):
                found = as_list(self.base_retriever.invoke(one.call.query, config, **others))
            if not found:
                return []
        return driven(one.core, one.call, one.traced(found))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        one, others = self._reranking(query, config, kwargs, asynchronous=True)
        await adriven(one.core, one.call, one.guarded())
        found: list[LangChainDocument] = []
        if one.call.error is None:
            with paused(one.call):
                found = as_list(await self.base_retriever.ainvoke(one.call.query, config, **others))
            if not found:
                return []
        return await adriven(one.core, one.call, one.traced(found))

    def _reranking(
        self, query: str, config: RunnableConfig, given: Mapping[str, Any], *, asynchronous: bool
    ) -> tuple[Reranking, dict[str, Any]]:
        """A prepared call with the options in `given`, and the arguments of the `base_retriever`."""
        own = _OPTIONS - _parameters(self.base_retriever)
        options = options_given({name: value for name, value in given.items() if name in own})
        if self.top_n is not None:
            options.setdefault("top_n", self.top_n)
        others = {name: value for name, value in given.items() if name not in own}
        return self.reranker._reranking(query, config, options, asynchronous=asynchronous), others


_OPTIONS = (Options.model_fields.keys() | {"num_retries"}) - {"limit"}
"""Options of a call; `limit` is rather the number of documents to retrieve."""


def _parameters(retriever: RetrieverLike) -> Set[str]:
    """The keyword arguments that a retriever names, not those that it takes as `**kwargs`."""
    function = getattr(retriever, "_get_relevant_documents", None)
    return set() if function is None else signature(function).parameters.keys()
