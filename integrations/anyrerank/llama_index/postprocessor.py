"""LlamaIndex: a node postprocessor over any provider.

Needs llama-index-core alone (`pip install 'anyrerank[llama-index]'`).
"""

import base64
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

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

from anyrerank._adapters import RerankFields, admitted, image_data_url, listed, projected, unchecked, usage_of
from anyrerank._core.client import BaseReranker
from anyrerank._core.engine import Options, options_of, results
from anyrerank._core.runtime import Call, Do, Flow, arun, run
from anyrerank._core.types import Document, RerankResponse, Results, public

_dispatcher = get_dispatcher(__name__)

TextFunction = Callable[[BaseNode], Document]
"""Gives the text that is ranked, or a mapping for a provider that ranks more than text."""


@public("anyrerank.llama_index")
class RerankUsageEvent(BaseEvent):
    """What a rerank used: tokens, search units, cost, attempts, provider, request id. No text."""

    usage: dict[str, Any]

    @classmethod
    def class_name(cls) -> str:
        """Name in traces."""
        return "RerankUsageEvent"


@public("anyrerank.llama_index")
class AnyRerank(RerankFields, BaseNodePostprocessor):
    """Reranks nodes through any provider; natively asynchronous.

    New `NodeWithScore`s come back, best first, around the nodes themselves; the nodes are not changed. Blank nodes are
    last and have no score. Every call that reaches a model or is stopped by a guardrail fires `ReRankStartEvent`, then
    `ReRankEndEvent` or `ExceptionEvent`, a `RERANKING` callback event, and a `RerankUsageEvent`, inside a span in
    either colour.

    Images are read when they are sent, files in a thread in asynchronous calls; a `file:` address is a path.

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
        """The options, without the key, `headers`, `credentials`, `hooks`, `cache` and `http_client`.

        Raises:
            ConfigurationError: There are guardrails or budgets, a `text_fn`, a ready reranker, or a `Reranker` or
                `Provider` class, which a dict cannot hold; what is made of it would send, spend or rank otherwise. Or
                the query string of `api_base` seems to hold a secret.
        """
        if self.guardrails or self.budget or self.user_budget:
            raise ConfigurationError("guardrails and budgets cannot be written down: write the rest without them")
        if self.reranker is not None:
            raise ConfigurationError("a ready reranker or a router cannot be written down")
        if unwritable := self._unwritable():
            raise ConfigurationError(f"{', '.join(unwritable)} cannot be written down: write the rest without it")
        self._check_base()
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
        self, found: Sequence[NodeWithScore], query_bundle: QueryBundle | None, *, asynchronous: bool
    ) -> Flow[list[NodeWithScore]]:
        """One rerank and its events: none when nothing will be called, and none without its end."""
        nodes = listed(found)
        if not nodes:
            return []
        if query_bundle is None:
            raise ValueError("a rerank needs a query: pass query_bundle= or query_str=")
        core = self._core()
        query = yield from admitted(query_bundle.query_str, core.options)
        if query.shown != query_bundle.query_str:
            query_bundle = query_bundle.__class__(query_str=query.shown, image_path=query_bundle.image_path)
        given = {**self._call_options(core, {}), **query.overrides}
        options = options_of(given, core.options)
        texts = [] if query.refused else (yield from self._texts(nodes, query_bundle, core))
        if not query.refused and self._skips_all(nodes, texts):
            return self._scored(nodes, _unranked(texts, options))
        wanted = options.top_n or len(nodes)
        payload: dict[str, Any] = {
            EventPayload.NODES: list(nodes),
            EventPayload.MODEL_NAME: core.deployment,
            EventPayload.QUERY_STR: query.shown,
            EventPayload.TOP_K: wanted,
        }
        start = ReRankStartEvent(query=query_bundle, nodes=list(nodes), top_n=wanted, model_name=core.deployment)
        _dispatcher.event(start)
        try:
            with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
                ask = core.arerank if asynchronous else core.rerank
                response: RerankResponse = yield Do(lambda: ask(query.query, texts, **given))
                ranked = self._scored(nodes, response.results)
                event.on_end(payload={EventPayload.NODES: ranked})
        except BaseException as error:
            _dispatcher.event(ExceptionEvent(exception=error))
            raise
        _dispatcher.event(RerankUsageEvent(usage=usage_of(response)))
        _dispatcher.event(ReRankEndEvent(nodes=ranked))
        return ranked

    def _scored(self, nodes: Sequence[NodeWithScore], ranked: Results) -> list[NodeWithScore]:
        """New wrappers around the nodes, in the order of the results."""
        fields = [{"node": nodes[index].node, "score": score} for index, score in ranked.pairs()]
        scored = unchecked(repeat(NodeWithScore, len(ranked)), fields, [{"node", "score"} for _ in ranked.indexes])
        if self.keep_retrieval_score:
            for wrapper, index in zip(scored, ranked.indexes, strict=True):
                wrapper.node = _remembering(wrapper.node, nodes[index].score)
        return scored

    def _texts(self, nodes: Sequence[NodeWithScore], query: QueryBundle, core: BaseReranker) -> Flow[list[Document]]:
        for place, node in enumerate(nodes):
            if not isinstance(node, NodeWithScore):
                raise TypeError(
                    f"nodes[{place}] is a {type(node).__name__}, not a NodeWithScore: wrap it, NodeWithScore(node=...)"
                )
        if query.image_path is not None and self.images == "error":
            raise BadRequestError("the query holds an image, which no provider here ranks by: images='text-only'")
        if self.text_fn is not None:
            return [self.text_fn(found.node) for found in nodes]
        if names := core.options.rank_fields:
            return [
                projected({**found.node.metadata, "text": found.node.get_content(MetadataMode.NONE)}, names)
                for found in nodes
            ]
        found = [wrapper.node for wrapper in nodes]
        texts: list[Document] = [
            node.text if type(node) is TextNode and not node.metadata else node.get_content(self.metadata_mode)
            for node in found
        ]
        if self.images == "text-only" or set(map(type, found)) == {TextNode}:
            return texts
        return (yield from self._with_images(texts, found, core))

    def _with_images(
        self, texts: list[Document], nodes: Sequence[BaseNode], core: BaseReranker
    ) -> Flow[list[Document]]:
        """The texts, with the images that the model reads, or without the nodes that have one."""
        images = {place: image for place, node in enumerate(nodes) if (image := _image(node)) is not None}
        if not images:
            return texts
        if core.accepts_images:
            read: Mapping[int, str] = yield Call(partial(_read, images))
            return [_pictured(text, read[place]) if place in read else text for place, text in enumerate(texts)]
        if self.images == "skip":
            return ["" if place in images else text for place, text in enumerate(texts)]
        raise BadRequestError(
            f"nodes[{min(images)}] holds an image, which {core.deployment} does not read: images='skip' puts it last, "
            "'text-only' ranks its text"
        )

    def _skips_all(self, nodes: Sequence[NodeWithScore], texts: Sequence[Document]) -> bool:
        """Whether no text is left beside images that are put last."""
        if self.images != "skip" or not all(isinstance(text, str) and not text.strip() for text in texts):
            return False
        return any(_image(found.node) is not None for found in nodes)


def _unranked(texts: Sequence[Document], options: Options) -> Results:
    """What the core gives for blank documents, when there are no others to ask for."""
    blank = () if options.score_threshold is not None else range(len(texts))
    return results((), blank, texts, top_n=options.top_n, with_documents=False)


def _pictured(text: Document, image: str) -> Document:
    return {"image": image, **({"text": text} if isinstance(text, str) and text.strip() else {})}


def _remembering(node: BaseNode, score: float | None) -> BaseNode:
    """A copy with the score in its metadata, and out of the text that models are given; the first score stays."""
    name = "retrieval_score"
    return node.model_copy(
        update={
            "metadata": {**node.metadata, name: node.metadata.get(name, score)},
            "excluded_embed_metadata_keys": list(dict.fromkeys([*node.excluded_embed_metadata_keys, name])),
            "excluded_llm_metadata_keys": list(dict.fromkeys([*node.excluded_llm_metadata_keys, name])),
        }
    )


class _Image(NamedTuple):
    """Where the image of a node is."""

    data: str | bytes | None
    path: str | Path | None
    url: str | None
    media_type: str | None


def _image(node: BaseNode) -> _Image | None:
    """The image of a node, if it has one; nothing is read."""
    if isinstance(node, ImageNode):
        image = _Image(node.image, node.image_path, node.image_url, node.image_mimetype)
    elif isinstance(node, Node) and (resource := node.image_resource) is not None:
        url = None if resource.url is None else str(resource.url)
        image = _Image(resource.data, resource.path, url, resource.mimetype)
    else:
        return None
    return image if image.data or image.path or image.url else None


def _read(images: Mapping[int, _Image]) -> dict[int, str]:
    """The images of some nodes, by place, each as a data URL or an address; files are read."""
    found = {}
    for place, image in images.items():
        try:
            found[place] = _address(image)
        except (OSError, ValueError) as error:
            raise BadRequestError(f"nodes[{place}] has an image that cannot be read: {type(error).__name__}") from None
    return found


def _address(image: _Image) -> str:
    if image.data:
        return image_data_url(image.data if isinstance(image.data, str) else image.data.decode(), image.media_type)
    url = image.url or ""
    path = image.path or (url2pathname(urlsplit(url).path) if url[:5].lower() == "file:" else None)
    if path is None:
        return url
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return image_data_url(data, mimetypes.guess_type(str(path))[0])
