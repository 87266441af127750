"""A document compressor over any provider, and the same as a runnable."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as LangChainDocument
from langchain_core.load.serializable import Serializable, SerializedConstructor, SerializedNotImplemented
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field, SecretStr
from pydantic.json_schema import SkipJsonSchema

from anyrerank._adapters import CheckedModel, RerankFields, as_list, check_query_string, lists_fields
from anyrerank._core.client import adriven, driven, prepared
from anyrerank._core.engine import key_from_environment
from anyrerank._core.types import public
from anyrerank.errors import AuthenticationError
from anyrerank.langchain.documents import TextFunction, scored, texts_of
from anyrerank.langchain.reranking import Reranking, options_given, query_and_documents
from anyrerank.langchain.tracing import trace_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from anyrerank.langchain.keywords import CompressorKeywords


@lists_fields
@public("anyrerank.langchain")
class AnyRerank(RerankFields, Serializable, BaseDocumentCompressor):
    """Reranks documents with any provider, synchronously and asynchronously.

    Returns copies of the documents, best first, with the score as `metadata["relevance_score"]`. A copy keeps `id`,
    subclass and other state; its metadata is copied one level deep. Blank documents come last, with the score `None`.
    Where the model reads images, a URL or base64 in `metadata["image"]` is ranked with the content.

    With `on_error="passthrough"`, documents that could not be reranked have the score `None`, and
    `metadata["degraded"]` is `True`.

    Each call is a traced run, nested under the current one. The end user of a call is the `user_id` in the metadata of
    the run, as in `chain.invoke(..., config={"metadata": {"user_id": "ann"}})` (a string, an int or a UUID), else that
    of `using_attributes`, else `user`.

    Example:
        >>> compressor = AnyRerank(model="cohere/rerank-v3.5", top_n=3)
        >>> ContextualCompressionRetriever(base_compressor=compressor, base_retriever=retriever)

    To load what `dumps` wrote, use `langchain_core.load.loads(text, allowed_objects=[AnyRerank],
    valid_namespaces=["anyrerank"], secrets_from_env=True)`. The dump refers to the key by the name of its environment
    variable, and leaves out `headers`.
    """

    model_config = ConfigDict(extra="forbid")

    metadata_key: str = "relevance_score"
    """Key of the score in the metadata."""
    text_fn: Annotated[TextFunction | None, SkipJsonSchema()] = Field(default=None, exclude=True, repr=False)
    """Returns the text to rank for a document; by default its content."""
    trace_as: Literal["chain", "retriever"] = "chain"
    """Type of the traced run."""
    trace_content: bool = True
    """Whether the traced run holds texts; `False` for ids and lengths only. The runs of retrievers are LangChain's."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[CompressorKeywords]) -> None: ...

    def compress_documents(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[LangChainDocument]:
        """Rerank `documents`.

        Args:
            documents: What a retriever found; an empty list is returned without a request.
            query: Must not be blank.
            callbacks: Handlers, or a sync or async manager; by default those of the current run.

        Raises:
            RerankError: As one of the classes in `anyrerank.errors`.
        """
        return self._reranked(documents, query, _config(callbacks), {})

    async def acompress_documents(
        self,
        documents: Sequence[LangChainDocument],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[LangChainDocument]:
        """`compress_documents`, on the running event loop."""
        return await self._areranked(documents, query, _config(callbacks), {})

    def as_runnable(self) -> "RerankRunnable":
        """A runnable that takes `{"query": ..., "documents": ...}` and returns the reranked documents."""
        return RerankRunnable(compressor=self)

    def _reranked(
        self,
        documents: Iterable[LangChainDocument],
        query: str,
        config: RunnableConfig | None,
        options: Mapping[str, Any],
        name: str | None = None,
    ) -> list[LangChainDocument]:
        if not (found := as_list(documents)):
            return []
        one = self._reranking(query, config, options, name, asynchronous=False)
        return driven(one.core, one.call, one.whole(found))

    async def _areranked(
        self,
        documents: Iterable[LangChainDocument],
        query: str,
        config: RunnableConfig | None,
        options: Mapping[str, Any],
        name: str | None = None,
    ) -> list[LangChainDocument]:
        if not (found := as_list(documents)):
            return []
        one = self._reranking(query, config, options, name, asynchronous=True)
        return await adriven(one.core, one.call, one.whole(found))

    def _reranking(
        self,
        query: str,
        config: RunnableConfig | None,
        options: Mapping[str, Any],
        name: str | None = None,
        *,
        asynchronous: bool,
    ) -> Reranking:
        """A prepared call with its own `options`, and its trace."""
        core = self._core()
        overrides = self._overrides(core, options)
        trace = trace_of(
            core,
            config,
            asynchronous=asynchronous,
            name=name or self.get_name(),
            run_type=None if self.trace_as == "chain" else self.trace_as,
            content=self.trace_content,
            top_n=overrides.get("top_n", core.options.top_n),
        )
        if "user" not in options and trace.end_user is not None:
            overrides["user"] = trace.end_user
        call = prepared(core, query, overrides)
        texts = partial(
            texts_of, text_fn=self.text_fn, rank_fields=call.options.rank_fields, images=core.accepts_images
        )
        results = partial(
            scored,
            key=self.metadata_key,
            keep_retrieval_score=self.keep_retrieval_score,
            model_key=self.model_key,
        )
        return Reranking(core, call, trace, texts, results)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether `langchain_core.load.dumps` writes it."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable that stands for the key in a dump."""
        kind = self._kind
        return {"api_key": kind.key_variables[0]} if kind and kind.key_variables else {}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """The key from the environment, so that a dump refers to it too."""
        kind = self._kind
        if kind is None or self.api_key is not None:
            return {}
        if any(setting.secret for setting in kind.settings.values()):
            return {}  # a key that is passed in would win over other credentials in the environment
        try:
            key = key_from_environment(kind)
        except AuthenticationError:
            key = None
        return {} if key is None else {"api_key": SecretStr(key)}

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """A dump that can be loaded, or `not_implemented` if it would have to hold an object such as a client.

        Raises:
            ConfigurationError: The query string of `api_base` seems to hold a secret.
        """
        check_query_string(self.api_base)
        objects = (
            *self.guardrails,
            *self.hooks,
            self.http_client,
            self.cache,
            self.budget,
            self.user_budget,
            self.limit,
        )
        if any(each is not None for each in objects) or self._undumpable() or self._secret_options():
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
class RerankRunnable(CheckedModel, RunnableSerializable[Mapping[str, Any], list[LangChainDocument]]):
    """`AnyRerank` for LCEL: takes `{"query": ..., "documents": ...}`; `configurable_fields(top_n=...)` works.

    Keyword arguments of `invoke` and `bind` are options of the call, as those of `anyrerank.Reranker.rerank`.

    `dumps` and `loads` work as for `AnyRerank`; `allowed_objects` must name both classes.
    """

    model_config = ConfigDict(extra="forbid")

    compressor: AnyRerank
    """Reranks the documents."""
    top_n: int | None = Field(default=None, ge=1)
    """Overrides that of the compressor."""

    def invoke(
        self,
        input: Mapping[str, Any],  # noqa: A002  LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        """Rerank `input["documents"]` for `input["query"]`."""
        query, documents = query_and_documents(input)
        return self.compressor._reranked(documents, query, config, self._options(kwargs), self.name)

    async def ainvoke(
        self,
        input: Mapping[str, Any],  # noqa: A002  LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        """`invoke`, on the running event loop."""
        query, documents = query_and_documents(input)
        return await self.compressor._areranked(documents, query, config, self._options(kwargs), self.name)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether `langchain_core.load.dumps` writes it."""
        return True

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return options_given({"top_n": self.top_n, **given})


def _config(callbacks: Callbacks | None) -> RunnableConfig | None:
    return None if callbacks is None else {"callbacks": callbacks}
