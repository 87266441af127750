"""LangChain: a document compressor and a retriever over any provider.

    AnyRerank        a `BaseDocumentCompressor`, for `ContextualCompressionRetriever`, pipelines and `as_runnable()`
    RerankRetriever  a `BaseRetriever` that retrieves with another one and reranks

Needs langchain-core alone (`pip install 'anyrerank[langchain]'`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from anyrerank.errors import AuthenticationError, ConfigurationError

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForChainRun,
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForChainRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor
    from langchain_core.documents import Document as LangChainDocument
    from langchain_core.load.serializable import Serializable, SerializedConstructor, SerializedNotImplemented
    from langchain_core.retrievers import BaseRetriever, RetrieverLike
    from langchain_core.runnables import RunnableConfig, RunnableSerializable, ensure_config
    from langchain_core.runnables.config import get_async_callback_manager_for_config, get_callback_manager_for_config
except ImportError as error:
    raise ConfigurationError("LangChain is not installed: pip install 'anyrerank[langchain]'") from error

from pydantic import ConfigDict, Field, SecretStr

from anyrerank._adapters import Admitted, RerankFields, admitted, listed, projected, unchecked, usage_of
from anyrerank._core.engine import key_from_environment, options_of, provider_class
from anyrerank._core.runtime import Do, Flow, arun, run
from anyrerank._core.types import Document, RerankResponse, public

TextFunction = Callable[[LangChainDocument], Document]
"""Gives the text that is ranked, or a mapping for a provider that ranks more than text."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one call says for itself.

    Attributes:
        options: Options of the core.
        name: Of the run, unless the config has one.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None


@public("anyrerank.langchain")
class AnyRerank(RerankFields, Serializable, BaseDocumentCompressor):
    """Reranks documents through any provider; natively asynchronous.

    The documents that come back are copies (`id`, subclass and further state kept, metadata copied one level deep)
    with the score as `metadata["relevance_score"]`, best first; blank documents are last and have the score `None`.
    Each call is a traced run of its own, nested under the caller's. The end user is the `user_id` in the metadata of
    the run (`chain.invoke(..., config={"metadata": {"user_id": "ann"}})`; a string, an int or a UUID), else the one of
    `using_attributes`, else `user`. Where `on_error="passthrough"` handed back the incoming order, the score is `None`
    and `metadata["degraded"]` is `True`.

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
        return run(self._reranked(documents, query, _config(callbacks), _Asked(), asynchronous=False))

    async def acompress_documents(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[LangChainDocument]:
        """`compress_documents`, on the running event loop."""
        return await arun(self._reranked(documents, query, _config(callbacks), _Asked(), asynchronous=True))

    def as_runnable(self) -> "RerankRunnable":
        """A runnable that takes `{"query": ..., "documents": ...}` and gives the reranked documents."""
        return RerankRunnable(compressor=self)

    def _reranked(
        self,
        documents: Iterable[LangChainDocument],
        query: str,
        config: RunnableConfig | None,
        asked: _Asked,
        *,
        asynchronous: bool,
    ) -> Flow[list[LangChainDocument]]:
        """Ask the guardrails, then rerank."""
        found = listed(documents)
        if not found:
            return []
        seen = yield from self._admitted(query, asked)
        return (yield from self._traced(found, seen, config, asked, asynchronous=asynchronous))

    def _admitted(self, query: str, asked: _Asked) -> Flow[Admitted]:
        return (yield from admitted(query, options_of(asked.options, self._core().options)))

    def _traced(
        self,
        documents: list[LangChainDocument],
        query: Admitted,
        config: RunnableConfig | None,
        asked: _Asked,
        *,
        asynchronous: bool,
    ) -> Flow[list[LangChainDocument]]:
        """One rerank and its run, which ends whatever happens: `CancelledError` and the like end it too."""
        if not (documents or query.refused):
            return []
        core = self._core()
        given = {**self._call_options(core, asked.options), **query.overrides}
        options = options_of(given, core.options)
        config = ensure_config(config)
        config["tags"] = [*(config.get("tags") or []), "anyrerank", f"provider:{core.provider}"]
        config["metadata"] = {
            **(config.get("metadata") or {}),
            "rerank_model": core.deployment,
            "rerank_top_n": options.top_n,
        }
        configure = get_async_callback_manager_for_config if asynchronous else get_callback_manager_for_config
        manager: Any = configure(config)
        given |= {} if "user" in asked.options else _end_user(manager.metadata)
        name = config.get("run_name") or asked.name or self.get_name()
        run_type = None if self.trace_as == "chain" else self.trace_as
        traced = _run_of(manager, config.get("run_id"), asynchronous=asynchronous)
        start = partial(manager.on_chain_start, None, name=name, run_type=run_type, run_id=traced.run_id)
        try:
            yield Do(lambda: start(self._seen(query.shown, documents)))
            texts = [] if query.refused else self._texts(documents, options.rank_fields)
            ask = core.arerank if asynchronous else core.rerank
            response: RerankResponse = yield Do(lambda: ask(query.query, texts, **given))
            ranked = self._scored(documents, response)
            usage = usage_of(response)
            if traced.handlers:
                yield Do(lambda: traced.get_child().on_custom_event("anyrerank.usage", usage, run_id=traced.run_id))
        except BaseException as error:
            failure = error
            yield Do(lambda: traced.on_chain_error(failure))
            raise
        if traced.handlers:
            yield Do(lambda: traced.on_chain_end({**self._seen(None, ranked), "usage": usage}))
        return ranked

    def _texts(self, documents: Sequence[LangChainDocument], rank_fields: Sequence[str] | None) -> list[Document]:
        for place, document in enumerate(documents):
            if not isinstance(document, LangChainDocument):
                raise TypeError(f"documents[{place}] is a {type(document).__name__}, not a LangChain Document")
        if self.text_fn is not None:
            return [self.text_fn(document) for document in documents]
        if rank_fields:
            return [
                projected({**document.metadata, "text": document.page_content}, rank_fields) for document in documents
            ]
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
                    copy.metadata.setdefault("retrieval_score", document.metadata[key])
        if response.degraded:
            for copy in scored:
                copy.metadata["degraded"] = True
        else:
            for document, copy in zip(found, scored, strict=True):
                if "degraded" in document.metadata and _is_left_degraded(document, key):
                    del copy.metadata["degraded"]
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
        """A constructor to load again, unless a part of it is an object that no text can hold.

        Raises:
            ConfigurationError: The query string of `api_base` seems to hold a secret.
        """
        self._check_base()
        objects = (*self.guardrails, *self.hooks, self.http_client, self.cache, self.budget, self.user_budget)
        if any(each is not None for each in objects) or self._unwritable() or self._secrets_in_options():
            return self.to_json_not_implemented()
        written = super().to_json()
        if written["type"] == "constructor" and isinstance(self.prices, Path):
            written["kwargs"]["prices"] = str(self.prices)
        return written

    @classmethod
    def get_name(cls) -> str:
        """Name of the traced run."""
        return cls.__name__


@public("anyrerank.langchain")
class RerankRunnable(RunnableSerializable[Mapping[str, Any], list[LangChainDocument]]):
    """`AnyRerank` for LCEL: takes `{"query": ..., "documents": ...}`; `configurable_fields(top_n=...)` works.

    Keyword arguments of `invoke`, or of `bind`, are options of `anyrerank.Reranker` for that call alone, save for the
    connection.
    """

    compressor: AnyRerank
    top_n: int | None = Field(default=None, ge=1, description="Overrides that of the compressor.")

    def invoke(
        self,
        input: Mapping[str, Any],  # noqa: A002  the name in LangChain's interface
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        """Rerank `input["documents"]` for `input["query"]`."""
        return run(self._reranked(input, config, kwargs, asynchronous=False))

    async def ainvoke(
        self,
        input: Mapping[str, Any],  # noqa: A002  the name in LangChain's interface
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        """`invoke`, on the running event loop."""
        return await arun(self._reranked(input, config, kwargs, asynchronous=True))

    def _reranked(
        self, given: Mapping[str, Any], config: RunnableConfig | None, options: Mapping[str, Any], *, asynchronous: bool
    ) -> Flow[list[LangChainDocument]]:
        asked = _Asked(_said({"top_n": self.top_n, **options}), self.name)
        return self.compressor._reranked(given["documents"], given["query"], config, asked, asynchronous=asynchronous)


@public("anyrerank.langchain")
class RerankRetriever(BaseRetriever):
    """Retrieves with `base_retriever` and reranks what it finds; `invoke(query, top_n=..., user=...)` for one call.

    Other keyword arguments of `invoke` go to the base retriever: a retriever, or whatever else gives documents for a
    query, such as one `with_retry()`.

    Example:
        >>> retriever = RerankRetriever(
        ...     base_retriever=store.as_retriever(search_kwargs={"k": 30}),
        ...     reranker=AnyRerank(model="nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2"),
        ...     top_n=5,
        ... )
    """

    base_retriever: RetrieverLike
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
        asked = self._asked(top_n, user)
        seen = run(self.reranker._admitted(query, asked))
        found = [] if seen.refused else self.base_retriever.invoke(seen.query, config, **kwargs)
        return run(self.reranker._traced(listed(found), seen, config, asked, asynchronous=False))

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
        asked = self._asked(top_n, user)
        seen = await arun(self.reranker._admitted(query, asked))
        found = [] if seen.refused else await self.base_retriever.ainvoke(seen.query, config, **kwargs)
        return await arun(self.reranker._traced(listed(found), seen, config, asked, asynchronous=True))

    def _asked(self, top_n: int | None, user: str | None) -> _Asked:
        return _Asked(_said({"top_n": self.top_n if top_n is None else top_n, "user": user}))


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a call gives; a `top_n` or `user` of `None` leaves it to the fields."""
    return {name: value for name, value in options.items() if value is not None or name not in ("top_n", "user")}


def _end_user(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The option `user`, if a run's metadata holds an id that can be one."""
    user = metadata.get("user_id")
    usable = isinstance(user, str | int | UUID) and not isinstance(user, bool)
    return {"user": str(user)} if usable else {}


def _run_of(manager: Any, run_id: UUID | None, *, asynchronous: bool) -> Any:
    """The run that `manager.on_chain_start` starts, which hands back none when it is interrupted."""
    kind = AsyncCallbackManagerForChainRun if asynchronous else CallbackManagerForChainRun
    return kind(
        run_id=run_id or kind.get_noop_manager().run_id,
        handlers=manager.handlers,
        inheritable_handlers=manager.inheritable_handlers,
        parent_run_id=manager.parent_run_id,
        tags=manager.tags,
        inheritable_tags=manager.inheritable_tags,
        metadata=manager.metadata,
        inheritable_metadata=manager.inheritable_metadata,
    )


def _is_left_degraded(document: LangChainDocument, key: str) -> bool:
    """Whether `degraded` is of an earlier pass of ours, which leaves no score beside it; any other is the caller's."""
    return document.metadata["degraded"] is True and document.metadata.get(key, 0.0) is None


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
