"""LlamaIndex: a node postprocessor over any provider.

Needs llama-index-core alone (`pip install 'anyrerank[llama-index]'`).
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

from anyrerank.errors import BadRequestError, ConfigurationError

try:
    from llama_index.core.callbacks import CBEventType, EventPayload
    from llama_index.core.instrumentation.events.exception import ExceptionEvent
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, Node, NodeWithScore, QueryBundle, TextNode
    from llama_index_instrumentation import get_dispatcher
    from llama_index_instrumentation.base import BaseEvent
except ImportError as error:
    raise ConfigurationError("LlamaIndex is not installed: pip install 'anyrerank[llama-index]'") from error

from pydantic import ConfigDict, Field

from anyrerank.adapter import RerankFields, image_data_url, projected, unchecked, usage_of
from anyrerank.base import BaseReranker
from anyrerank.flow import Do, Flow, arun, run
from anyrerank.guardrails import guarded
from anyrerank.schema import Document, RerankResponse

_dispatcher = get_dispatcher(__name__)

TextFunction = Callable[[BaseNode], Document]
"""Gives the text that is ranked, or a mapping for a provider that ranks more than text."""


class RerankUsageEvent(BaseEvent):
    """What a rerank used: tokens, search units, cost, attempts, provider, request id. No text."""

    usage: dict[str, Any]

    @classmethod
    def class_name(cls) -> str:
        """Name in traces."""
        return "RerankUsageEvent"


class AnyRerank(RerankFields, BaseNodePostprocessor):
    """Reranks nodes through any provider; natively asynchronous.

    New `NodeWithScore`s come back, best first, around the nodes themselves; the nodes are not changed. Blank nodes are
    last and have no score. Every call that reaches a model fires `ReRankStartEvent`, then `ReRankEndEvent` or
    `ExceptionEvent`, a `RERANKING` callback event, and a `RerankUsageEvent`, inside a span in either colour.

    `to_dict` holds neither the key nor `headers`, which may hold one.

    Example:
        >>> index.as_query_engine(
        ...     similarity_top_k=30, node_postprocessors=[AnyRerank(model="cohere/rerank-v3.5", top_n=5)]
        ... )
    """

    model_config = ConfigDict(extra="forbid")

    metadata_mode: MetadataMode = Field(
        default=MetadataMode.EMBED, description="Which metadata is ranked with the text. It is billed with it."
    )
    text_fn: TextFunction | None = Field(
        default=None, exclude=True, repr=False, description="What is ranked of a node, instead of its text."
    )
    images: Literal["error", "skip", "text-only"] = Field(
        default="error",
        description="For a provider that reads no images: refuse a node with one, put it last, or rank its text.",
    )

    @classmethod
    def class_name(cls) -> str:
        """Name in dumps and traces."""
        return "AnyRerank"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The options, without the key.

        Raises:
            ConfigurationError: There are guardrails or budgets, which a dict cannot hold; what is made of it would
                send, or spend, all.
        """
        if self.guardrails or self.budget or self.user_budget:
            raise ConfigurationError("guardrails and budgets cannot be written down: write the rest without them")
        if self.reranker is not None and self.model is not None:
            raise ConfigurationError("a router cannot be written down")
        return dict(super().to_dict(**kwargs))

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return run(self._reported(nodes, query_bundle, asynchronous=False))

    @_dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await arun(self._reported(nodes, query_bundle, asynchronous=True))

    def _reported(
        self, nodes: Sequence[NodeWithScore], query_bundle: QueryBundle | None, *, asynchronous: bool
    ) -> Flow[list[NodeWithScore]]:
        """One rerank and its events: none when nothing will be called, and none without its end."""
        if not nodes:
            return []
        if query_bundle is None:
            raise ValueError("a rerank needs a query: pass query_bundle= or query_str=")
        core = self._core()
        query = yield from guarded(query_bundle.query_str, core.guardrails)
        if query != query_bundle.query_str:
            query_bundle = query_bundle.__class__(query_str=query, image_path=query_bundle.image_path)
        options = self._call_options(core, None)
        texts = self._texts(nodes, query_bundle, core)
        wanted = options.get("top_n") or len(nodes)
        payload: dict[str, Any] = {
            EventPayload.NODES: list(nodes),
            EventPayload.MODEL_NAME: core.deployment,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: wanted,
        }
        start = ReRankStartEvent(query=query_bundle, nodes=list(nodes), top_n=wanted, model_name=core.deployment)
        _dispatcher.event(start)
        try:
            with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
                ask = core.arerank if asynchronous else core.rerank
                response: RerankResponse = yield Do(lambda: ask(query, texts, **options))
                ranked = self._scored(nodes, response)
                event.on_end(payload={EventPayload.NODES: ranked})
        except BaseException as error:
            _dispatcher.event(ExceptionEvent(exception=error))
            raise
        _dispatcher.event(RerankUsageEvent(usage=usage_of(response)))
        _dispatcher.event(ReRankEndEvent(nodes=ranked))
        return ranked

    def _scored(self, nodes: Sequence[NodeWithScore], response: RerankResponse) -> list[NodeWithScore]:
        """New wrappers around the nodes, in the order of the results."""
        found = response.results
        fields = [{"node": nodes[index].node, "score": score} for index, score in found.pairs()]
        scored = unchecked(repeat(NodeWithScore, len(found)), fields, [{"node", "score"} for _ in found.indexes])
        if self.keep_retrieval_score:
            for wrapper, index in zip(scored, response.results.indexes, strict=True):
                wrapper.node = _remembering(wrapper.node, nodes[index].score)
        return scored

    def _texts(self, nodes: Sequence[NodeWithScore], query: QueryBundle, core: BaseReranker) -> list[Document]:
        for place, node in enumerate(nodes):
            if not isinstance(node, NodeWithScore):
                raise TypeError(
                    f"nodes[{place}] is a {type(node).__name__}, not a NodeWithScore: wrap it, NodeWithScore(node=...)"
                )
        if query.image_path is not None and self.images == "error":
            raise BadRequestError("the query holds an image, which no provider here ranks by: images='text-only'")
        if self.text_fn is not None:
            return [self.text_fn(found.node) for found in nodes]
        if names := core.rank_fields:
            return [
                projected({**found.node.metadata, "text": found.node.get_content(MetadataMode.NONE)}, names)
                for found in nodes
            ]
        return [
            node.text if type(node) is TextNode and not node.metadata else self._text(node, core)
            for node in [found.node for found in nodes]
        ]

    def _text(self, node: BaseNode, core: BaseReranker) -> Document:
        text = node.get_content(self.metadata_mode)
        image = None if type(node) is TextNode else _image(node)
        if image is None or self.images == "text-only":
            return text
        if core.accepts_images:
            return {"image": image, **({"text": text} if text.strip() else {})}
        if self.images == "skip":
            return ""
        raise BadRequestError(
            f"a node holds an image, which {core.deployment} does not read: images='skip' puts it last, 'text-only' "
            "ranks its text"
        )


def _remembering(node: BaseNode, score: float | None) -> BaseNode:
    """A copy with the score in its metadata, and out of the text that models are given."""
    name = "retrieval_score"
    return node.model_copy(
        update={
            "metadata": {**node.metadata, name: score},
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, name],
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, name],
        }
    )


def _image(node: BaseNode) -> str | None:
    """The image of a node as a data URL or an address, or `None`; a file is read."""
    if isinstance(node, ImageNode) and node.image:
        return image_data_url(node.image, node.image_mimetype)
    resource = node.image_resource if isinstance(node, Node) else None
    if resource is not None and resource.data:
        return image_data_url(resource.data.decode(), resource.mimetype)
    path = (resource and resource.path) or (isinstance(node, ImageNode) and node.image_path)
    if path:
        data = base64.b64encode(Path(path).read_bytes()).decode()
        return image_data_url(data, mimetypes.guess_type(str(path))[0])
    url = (resource and resource.url) or (isinstance(node, ImageNode) and node.image_url)
    return str(url) if url else None
