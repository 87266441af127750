"""LangChain: a document compressor and a retriever over any provider.

    AnyRerank        a `BaseDocumentCompressor`, for `ContextualCompressionRetriever`, pipelines and `as_runnable()`
    RerankRetriever  a `BaseRetriever` that retrieves with another one and reranks

Needs langchain-core alone (`pip install 'anyrerank[langchain]'`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from anyrerank.errors import AuthenticationError, ConfigurationError

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor
    from langchain_core.documents import Document as LangChainDocument
    from langchain_core.load.serializable import Serializable, SerializedConstructor, SerializedNotImplemented
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import RunnableConfig, RunnableSerializable, ensure_config
    from langchain_core.runnables.config import get_async_callback_manager_for_config, get_callback_manager_for_config
except ImportError as error:
    raise ConfigurationError("LangChain is not installed: pip install 'anyrerank[langchain]'") from error

from pydantic import ConfigDict, Field, SecretStr

from anyrerank.adapter import RerankFields, projected, unchecked, usage_of
from anyrerank.base import BaseReranker
from anyrerank.config import key_from_environment, provider_class
from anyrerank.flow import Do, Flow, arun, run
from anyrerank.guardrails import guarded
from anyrerank.schema import Document, RerankResponse

TextFunction = Callable[[LangChainDocument], Document]
"""Gives the text that is ranked, or a mapping for a provider that ranks more than text."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one call says for itself."""

    top_n: int | None = None
    user: str | None = None


class AnyRerank(RerankFields, Serializable, BaseDocumentCompressor):
    """Reranks documents through any provider; natively asynchronous.

    The documents that come back are copies (`id`, subclass and further state kept, metadata copied one level deep)
    with the score as `metadata["relevance_score"]`, best first; blank documents are last and have the score `None`.
    Each call is a traced run of its own, nested under the caller's. The end user is the `user_id` in the metadata of
    the run (`chain.invoke(..., config={"metadata": {"user_id": "ann"}})`), else the one of `using_attributes`, else
    `user`.

    Example:
        >>> compressor = AnyRerank(model="cohere/rerank-v3.5", top_n=3)
        >>> ContextualCompressionRetriever(base_compressor=compressor, base_retriever=retriever)

    `langchain_core.load.loads(text, allowed_objects=[AnyRerank], valid_namespaces=["anyrerank"],
    secrets_from_env=True)` brings back what `dumps` wrote; the key is a secret reference in it, and `headers` are left
    out.
    """

    model_config = ConfigDict(extra="forbid")

    metadata_key: str = Field(default="relevance_score", description="Where the score goes in the metadata.")
    text_fn: TextFunction | None = Field(
        default=None, exclude=True, repr=False, description="What is ranked of a document; by default its content."
    )
    trace_as: Literal["chain", "retriever"] = Field(default="chain", description="Type of the traced run.")
    trace_content: bool = Field(default=True, description="False for ids and lengths instead of texts in traces.")

    def compress_documents(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[LangChainDocument]:
        """Rerank `documents`.

        Args:
            documents: What a retriever found; an empty list is handed back without a request.
            query: Not blank.
            callbacks: Handlers or a manager of either colour; without them the ambient run is the parent.

        Raises:
            RerankError: See `anyrerank.errors`.
        """
        return run(self._guarded(documents, query, _config(callbacks), _Asked(), asynchronous=False))

    async def acompress_documents(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[LangChainDocument]:
        """`compress_documents`, on the running event loop."""
        return await arun(self._guarded(documents, query, _config(callbacks), _Asked(), asynchronous=True))

    def as_runnable(self) -> RerankRunnable:
        """A runnable that takes `{"query": ..., "documents": ...}` and gives the reranked documents."""
        return RerankRunnable(compressor=self)

    def _guarded(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        config: RunnableConfig | None,
        asked: _Asked,
        *,
        asynchronous: bool,
    ) -> Flow[list[LangChainDocument]]:
        """Ask the guardrails, then rerank."""
        if documents:
            query = yield from guarded(query, self._core().guardrails)
        return (yield from self._traced(documents, query, config, asked, asynchronous=asynchronous))

    def _traced(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        config: RunnableConfig | None,
        asked: _Asked,
        *,
        asynchronous: bool,
    ) -> Flow[list[LangChainDocument]]:
        """One rerank and its run, for a query that is guarded; `CancelledError` and the like end the run too."""
        if not documents:
            return []
        core = self._core()
        config = ensure_config(config)
        config["tags"] = [*(config.get("tags") or []), "anyrerank", f"provider:{core.provider}"]
        config["metadata"] = {
            **(config.get("metadata") or {}),
            "rerank_model": core.deployment,
            "rerank_top_n": self.top_n if asked.top_n is None else asked.top_n,
        }
        configure = get_async_callback_manager_for_config if asynchronous else get_callback_manager_for_config
        manager: Any = configure(config)
        options = self._call_options(core, asked.top_n, asked.user or manager.metadata.get("user_id"))
        name = config.get("run_name") or self.get_name()
        run_type = None if self.trace_as == "chain" else self.trace_as
        traced = yield Do(
            lambda: manager.on_chain_start(
                None, self._seen(query, documents), name=name, run_type=run_type, run_id=config.get("run_id")
            )
        )
        try:
            texts = self._texts(documents, core)
            ask = core.arerank if asynchronous else core.rerank
            response: RerankResponse = yield Do(lambda: ask(query, texts, **options))
            ranked = self._scored(documents, response)
        except BaseException as error:
            failure = error
            yield Do(lambda: traced.on_chain_error(failure))
            raise
        if traced.handlers:
            usage = usage_of(response)
            yield Do(lambda: traced.get_child().on_custom_event("anyrerank.usage", usage, run_id=traced.run_id))
            yield Do(lambda: traced.on_chain_end({**self._seen(None, ranked), "usage": usage}))
        return ranked

    def _texts(self, documents: Sequence[LangChainDocument], core: BaseReranker) -> list[Document]:
        for place, document in enumerate(documents):
            if not isinstance(document, LangChainDocument):
                raise TypeError(f"documents[{place}] is a {type(document).__name__}, not a LangChain Document")
        if self.text_fn is not None:
            return [self.text_fn(document) for document in documents]
        if names := core.rank_fields:
            return [projected({**document.metadata, "text": document.page_content}, names) for document in documents]
        return [document.page_content for document in documents]

    def _scored(self, documents: Sequence[LangChainDocument], response: RerankResponse) -> list[LangChainDocument]:
        """Copies of the documents in the order of the results, each with its score."""
        key, found = self.metadata_key, [documents[index] for index in response.results.indexes]
        scored = _copied(
            found,
            [{**document.metadata, key: score} for document, score in zip(found, response.results.scores, strict=True)],
        )
        if self.keep_retrieval_score:
            for document, copy in zip(found, scored, strict=True):
                if key in document.metadata:
                    copy.metadata["retrieval_score"] = document.metadata[key]
        if response.degraded:
            for copy in scored:
                copy.metadata["degraded"] = True
        elif any("degraded" in document.metadata for document in found):
            for copy in scored:
                copy.metadata.pop("degraded", None)
        return scored

    def _seen(self, query: str | None, documents: Sequence[LangChainDocument]) -> dict[str, Any]:
        """What the trace shows of a query and its documents."""
        if self.trace_content:
            return {"documents": list(documents), **({} if query is None else {"query": query})}
        shown = [{"id": document.id, "length": len(document.page_content)} for document in documents]
        return {"documents": shown, **({} if query is None else {"query_length": len(query)})}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether `langchain_core.load.dumps` writes it."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable that stands for the key in a dump."""
        if self._provider_model is None:
            return {}
        variables = provider_class(self._provider_model, self.provider).key_variables
        return {"api_key": variables[0]} if variables else {}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """The key that the environment holds, which a dump refers to as it does to one that was passed in."""
        if self._provider_model is None or self.api_key is not None:
            return {}
        kind = provider_class(self._provider_model, self.provider)
        if any(setting.secret for setting in kind.settings.values()):
            return {}  # a key that is passed in would win over other credentials of the environment
        try:
            key = key_from_environment(kind)
        except AuthenticationError:
            key = None
        return {} if key is None else {"api_key": SecretStr(key)}

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """A constructor to load again, unless a part of it is an object that no text can hold."""
        functions = (*self.guardrails, *self.hooks, self.text_fn)
        objects = (self.reranker, self.http_client, self.cache, self.budget, self.user_budget)
        if any(each is not None for each in (*functions, *objects)) or self._secrets_in_options():
            return self.to_json_not_implemented()
        return super().to_json()

    @classmethod
    def get_name(cls) -> str:
        """Name of the traced run."""
        return cls.__name__


class RerankRunnable(RunnableSerializable[Mapping[str, Any], list[LangChainDocument]]):
    """`AnyRerank` for LCEL: takes `{"query": ..., "documents": ...}`; `configurable_fields(top_n=...)` works."""

    compressor: AnyRerank
    top_n: int | None = Field(default=None, ge=1, description="Overrides that of the compressor.")

    def invoke(
        self,
        input: Mapping[str, Any],  # noqa: A002  the name in LangChain's interface
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        """Rerank `input["documents"]` for `input["query"]`."""
        flow = self.compressor._guarded(
            input["documents"], input["query"], config, self._asked(kwargs), asynchronous=False
        )
        return run(flow)

    async def ainvoke(
        self,
        input: Mapping[str, Any],  # noqa: A002  the name in LangChain's interface
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        """`invoke`, on the running event loop."""
        flow = self.compressor._guarded(
            input["documents"], input["query"], config, self._asked(kwargs), asynchronous=True
        )
        return await arun(flow)

    def _asked(self, given: Mapping[str, Any]) -> _Asked:
        return _Asked(given.get("top_n", self.top_n), given.get("user"))


class RerankRetriever(BaseRetriever):
    """Retrieves with `base_retriever` and reranks what it finds; `invoke(query, top_n=..., user=...)` for one call.

    Other keyword arguments of `invoke` go to the base retriever.

    Example:
        >>> retriever = RerankRetriever(
        ...     base_retriever=store.as_retriever(search_kwargs={"k": 30}),
        ...     reranker=AnyRerank(model="nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2"),
        ...     top_n=5,
        ... )
    """

    base_retriever: BaseRetriever
    reranker: AnyRerank
    top_n: int | None = Field(default=None, ge=1, description="Overrides that of the reranker.")

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
        query = run(guarded(query, self.reranker._core().guardrails))
        found = self.base_retriever.invoke(query, config, **kwargs)
        asked = _Asked(self.top_n if top_n is None else top_n, user)
        return run(self.reranker._traced(found, query, config, asked, asynchronous=False))

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
        query = await arun(guarded(query, self.reranker._core().guardrails))
        found = await self.base_retriever.ainvoke(query, config, **kwargs)
        asked = _Asked(self.top_n if top_n is None else top_n, user)
        return await arun(self.reranker._traced(found, query, config, asked, asynchronous=True))


def _copied(documents: Sequence[LangChainDocument], metadata: Sequence[dict[str, Any]]) -> list[LangChainDocument]:
    """`document.model_copy(update={"metadata": ...})` of each."""
    pairs = zip(documents, metadata, strict=True)
    if set(map(type, map(_beyond_fields, documents))) != {type(None)}:
        return [document.model_copy(update={"metadata": changed}) for document, changed in pairs]
    return unchecked(
        map(type, documents),
        [{**document.__dict__, "metadata": changed} for document, changed in pairs],
        [{*document.__pydantic_fields_set__, "metadata"} for document in documents],
    )


def _beyond_fields(document: LangChainDocument) -> object:
    """Private attributes or extra fields of a subclass, or `None`."""
    return document.__pydantic_private__ if document.__pydantic_extra__ is None else document.__pydantic_extra__


def _config(callbacks: Callbacks | None) -> RunnableConfig | None:
    return None if callbacks is None else {"callbacks": callbacks}


AnyRerank.model_rebuild()
