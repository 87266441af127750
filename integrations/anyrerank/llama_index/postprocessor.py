"""A node postprocessor over any provider."""

from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import ConfigDict, Field

from anyrerank._adapters import RerankFields, as_list, check_query_string
from anyrerank._core.client import BaseReranker, add_documents, adriven, completed, driven, guarded, prepared
from anyrerank._core.engine import Call
from anyrerank._core.runtime import Flow
from anyrerank._core.types import RerankResponse, public
from anyrerank.errors import BadRequestError, ConfigurationError, RerankError
from anyrerank.llama_index.events import dispatcher, reported
from anyrerank.llama_index.nodes import ImagePolicy, TextFunction, Texts, scored


@public("anyrerank.llama_index")
class AnyRerank(RerankFields, BaseNodePostprocessor):
    """Reranks nodes through any provider; natively asynchronous.

    It returns new `NodeWithScore`s, best first, around the same nodes, which are not changed. Blank nodes are last and
    have no score. Every call with nodes fires `ReRankStartEvent`, then `ReRankEndEvent` or `ExceptionEvent`, a
    `RERANKING` callback event and a `RerankUsageEvent`, inside a span.

    Images are read when they are sent, files in a thread if the call is asynchronous; a `file:` URL is a path.

    `to_dict` leaves out the key and `headers`, which may hold one.

    Example:
        >>> index.as_query_engine(
        ...     similarity_top_k=30, node_postprocessors=[AnyRerank(model="cohere/rerank-v3.5", top_n=5)]
        ... )
    """

    model_config = ConfigDict(extra="forbid")

    metadata_mode: MetadataMode = MetadataMode.EMBED
    """Which metadata is ranked with the text, and billed with it."""
    text_fn: TextFunction | None = Field(default=None, exclude=True, repr=False)
    """Gives what is ranked of a node, instead of its text."""
    images: ImagePolicy = "error"
    """What to do with a node whose image the provider does not read: refuse it, put it last, or rank its text."""

    @classmethod
    def class_name(cls) -> str:
        """Name in dumps and traces."""
        return "AnyRerank"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The options, without the key, `headers`, `credentials`, `hooks`, `cache` and `http_client`.

        Raises:
            ConfigurationError: A dict cannot hold the guardrails, budgets, `text_fn`, `reranker`, `Reranker` among the
                fallbacks or `Provider` class, and what is made of it would behave differently without them; or the
                query string of `api_base` seems to hold a secret.
        """
        if self.guardrails or self.budget or self.user_budget:
            raise ConfigurationError("guardrails and budgets cannot be dumped: dump a copy without them")
        if self.reranker is not None:
            raise ConfigurationError("a reranker or router cannot be dumped")
        if undumpable := self._undumpable():
            raise ConfigurationError(f"{', '.join(undumpable)} cannot be dumped: dump a copy without it")
        check_query_string(self.api_base)
        return dict(super().to_dict(**kwargs))

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not (found := as_list(nodes)):
            return []
        core, call, query = self._prepared(query_bundle)
        return driven(core, call, self._reranked(core, call, found, query))

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not (found := as_list(nodes)):
            return []
        core, call, query = self._prepared(query_bundle)
        return await adriven(core, call, self._reranked(core, call, found, query))

    def _prepared(self, query: QueryBundle | None) -> tuple[BaseReranker, Call, QueryBundle]:
        if query is None:
            raise BadRequestError("a rerank needs a query: pass query_bundle= or query_str=")
        core = self._core()
        return core, prepared(core, query.query_str, self._overrides(core, {})), query

    def _reranked(
        self, core: BaseReranker, call: Call, nodes: list[NodeWithScore], query: QueryBundle
    ) -> Flow[list[NodeWithScore]]:
        """Run the guardrails, before any event holds the query, then rerank."""
        yield from guarded(call)
        if call.query != query.query_str:
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
                add_documents(core, call, documents)
        response = yield from completed(core, call)
        return response, scored(nodes, response.results, keep_retrieval_score=self.keep_retrieval_score)
