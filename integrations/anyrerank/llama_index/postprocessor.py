"""A node postprocessor over any provider."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from anyrerank._adapters import RerankFields, lists_fields
from anyrerank._core.client import BaseReranker, add_documents, adriven, completed, driven, guarded, prepared
from anyrerank._core.engine import Call
from anyrerank._core.runtime import Flow
from anyrerank._core.types import RerankResponse, public
from anyrerank.errors import InvalidArgumentError, RerankError
from anyrerank.llama_index.events import dispatcher, reported
from anyrerank.llama_index.nodes import ImagePolicy, TextFunction, Texts, checked_nodes, scored

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from anyrerank.llama_index.keywords import PostprocessorKeywords


@lists_fields
@public("anyrerank.llama_index")
class AnyRerank(RerankFields, BaseNodePostprocessor):
    """Reranks nodes with any provider, synchronously and asynchronously.

    Returns new `NodeWithScore`s around the same nodes, best first; the nodes are not changed. Blank nodes come last,
    without a score. With `on_error="passthrough"`, nodes that could not be reranked have no score.

    Each call with nodes is a span. It fires a `ReRankStartEvent` and then a `RerankUsageEvent` (a `ReRankEndEvent`) or
    an `ExceptionEvent`, and a `RERANKING` callback event.

    Image files are read when they are sent, in a thread if the call is asynchronous. A `file:` URL is a path.

    `to_dict` and `to_json` leave out the key and `headers`.

    Example:
        >>> index.as_query_engine(
        ...     similarity_top_k=30, node_postprocessors=[AnyRerank(model="cohere/rerank-v3.5", top_n=5)]
        ... )
    """

    model_config = ConfigDict(extra="forbid")

    metadata_mode: MetadataMode = MetadataMode.EMBED
    """Which metadata is ranked, and billed, with the text."""
    text_fn: Annotated[TextFunction | None, SkipJsonSchema()] = Field(default=None, exclude=True, repr=False)
    """Returns the text to rank for a node; by default its content with the metadata of `metadata_mode`."""
    images: ImagePolicy = "error"
    """For nodes whose image the model does not read: `"error"`, `"skip"` to put them last, or `"text-only"`."""

    callback_manager: CallbackManager = Field(default_factory=CallbackManager, exclude=True)
    """Gets the `RERANKING` events; a query engine replaces it by its own."""

    _set_by_framework: ClassVar[frozenset[str]] = frozenset({"callback_manager"})

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[PostprocessorKeywords]) -> None: ...

    @classmethod
    def class_name(cls) -> str:
        """Name in dumps and traces."""
        return "AnyRerank"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The options, without the key, `headers`, `credentials`, `hooks`, `cache` and `http_client`.

        Raises:
            ConfigurationError: There are guardrails, budgets, a limit, a `text_fn`, a `reranker`, a `Reranker` among
                the fallbacks or a `Provider` class, which a dict cannot hold, and without which the copy would behave
                differently; or the query string of `api_base` seems to hold a secret.
        """
        self.check_dumpable()
        return dict(super().to_dict(**kwargs))

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not (found := checked_nodes(nodes)):
            return []
        core, call, query = self._prepared(query_bundle)
        return driven(core, call, self._reranked(core, call, found, query))

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not (found := checked_nodes(nodes)):
            return []
        core, call, query = self._prepared(query_bundle)
        return await adriven(core, call, self._reranked(core, call, found, query))

    def _prepared(self, query: object) -> tuple[BaseReranker, Call, QueryBundle]:
        if query is None:
            raise InvalidArgumentError("reranking needs a query: pass query_bundle= or query_str=")
        if not isinstance(query, QueryBundle):
            kind = type(query).__name__
            raise InvalidArgumentError(f"query_bundle must be a QueryBundle, got {kind}: pass a string as query_str=")
        core = self._core()
        return core, prepared(core, query.query_str, self._overrides(core, {})), query

    def _reranked(
        self, core: BaseReranker, call: Call, nodes: list[NodeWithScore], query: QueryBundle
    ) -> Flow[list[NodeWithScore]]:
        """Run the guardrails, before any event holds the query, then rerank."""
        yield from guarded(call)
        if call.query != query.query_str:  # without the other strings, which did not pass the guardrails
            query = query.__class__(query_str=call.query, image_path=query.image_path)
        return (
            yield from reported(
                lambda: self._completed(core, call, nodes, query),
                callbacks=self.callback_manager,
                nodes=nodes,
                query=query,
                top_n=call.options.top_n or len(nodes),
                model=core.deployment,
            )
        )

    def _completed(
        self, core: BaseReranker, call: Call, nodes: list[NodeWithScore], query: QueryBundle
    ) -> Flow[tuple[RerankResponse, list[NodeWithScore]]]:
        if call.error is None:
            texts = Texts(self.text_fn, call.options.rank_fields, self.metadata_mode, self.images)
            try:
                documents = yield from texts.of(nodes, query, core)
            except RerankError as error:
                call.refuse(error)
            else:
                add_documents(core, call, documents, [found.node.node_id for found in nodes])
        response = yield from completed(core, call)
        return response, scored(
            nodes, response, keep_retrieval_score=self.keep_retrieval_score, model_key=self.model_key
        )
