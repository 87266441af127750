"""Converting LlamaIndex nodes for the core, and its results to nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode

from anyrerank._adapters import as_list, projected, texts_by, with_image
from anyrerank._core.client import BaseReranker
from anyrerank._core.runtime import Blocking, Flow
from anyrerank._core.types import Document, RerankResponse
from anyrerank.errors import BadRequestError
from anyrerank.llama_index.images import image_of, read_images

TextFunction = Callable[[BaseNode], Document]
"""Returns the text to rank, or a mapping for a provider that ranks more than text."""

ImagePolicy = Literal["error", "skip", "text-only"]


def checked_nodes(nodes: Iterable[NodeWithScore]) -> list[NodeWithScore]:
    """The nodes as a list.

    Raises:
        BadRequestError: One of them is not a `NodeWithScore`.
    """
    found = as_list(nodes)
    for index, node in enumerate(found):
        if not isinstance(node, NodeWithScore):
            raise BadRequestError(
                f"nodes[{index}] must be a NodeWithScore, got {type(node).__name__}: wrap it in NodeWithScore(node=...)"
            )
    return found


@dataclass(frozen=True, slots=True)
class Texts:
    """Extracts the text, fields or image of nodes that is ranked.

    Attributes:
        text_fn: Returns what is ranked, if given; `rank_fields` and `metadata_mode` are then not used.
        rank_fields: Metadata to rank on, instead of the text.
        metadata_mode: Which metadata is ranked with the text.
        images: What to do with images that the model does not read.
    """

    text_fn: TextFunction | None
    rank_fields: Sequence[str] | None
    metadata_mode: MetadataMode
    images: ImagePolicy

    def of(self, nodes: Sequence[NodeWithScore], query: QueryBundle, core: BaseReranker) -> Flow[list[Document]]:
        """The documents that `core` ranks; image files are read.

        Raises:
            BadRequestError: The query or a node has an image that cannot be ranked or read, or `text_fn` failed.
        """
        if query.image_path is not None and self.images == "error":
            raise BadRequestError("the query has an image, and no provider ranks by images: images='text-only'")
        if self.text_fn is not None:
            return texts_by(self.text_fn, [found.node for found in nodes], "nodes")
        if self.rank_fields:
            return [_fields_of(found.node, self.rank_fields) for found in nodes]
        texts = [self._text(found.node) for found in nodes]
        if self.images == "text-only" or {type(found.node) for found in nodes} == {TextNode}:
            return [*texts]
        return (yield from self._with_images(texts, [found.node for found in nodes], core))

    def _text(self, node: BaseNode) -> str:
        if type(node) is TextNode and not node.metadata:
            return node.text  # get_content returns the same, but takes several times as long
        return node.get_content(self.metadata_mode)

    def _with_images(self, texts: list[str], nodes: Sequence[BaseNode], core: BaseReranker) -> Flow[list[Document]]:
        """The texts with their images, or blank ones where the model does not read images."""
        images = {index: image for index, node in enumerate(nodes) if (image := image_of(node)) is not None}
        if not images:
            return [*texts]
        if core.accepts_images:
            read: Mapping[int, str] = yield Blocking(partial(read_images, images))
            return [with_image(text, read[index]) if index in read else text for index, text in enumerate(texts)]
        if self.images == "skip":
            return ["" if index in images else text for index, text in enumerate(texts)]
        raise BadRequestError(
            f"nodes[{min(images)}] has an image, which {core.deployment} does not read: images='skip' puts it last, "
            "'text-only' ranks its text"
        )


def _fields_of(node: BaseNode, names: Sequence[str]) -> dict[str, str]:
    return projected({**node.metadata, "text": node.get_content(MetadataMode.NONE)}, names)


def scored(
    nodes: Sequence[NodeWithScore], response: RerankResponse, *, keep_retrieval_score: bool, model_key: str | None
) -> list[NodeWithScore]:
    """New wrappers around the nodes, in the order of the results."""
    model = {} if model_key is None else {model_key: response.answered_by}
    spans, scored_nodes = response.ranking.spans, []
    for index, score in response.ranking.pairs():
        more = {**model, **(_retrieval_score(nodes[index]) if keep_retrieval_score else {})}
        if index in spans:
            more["relevant_spans"] = spans[index]
        scored_nodes.append(NodeWithScore(node=_with_metadata(nodes[index].node, more), score=score))
    return scored_nodes


def _retrieval_score(found: NodeWithScore) -> dict[str, Any]:
    """The incoming score as metadata; a score from an earlier rerank is not replaced."""
    return {"retrieval_score": found.node.metadata.get("retrieval_score", found.score)}


def _with_metadata(node: BaseNode, more: Mapping[str, Any]) -> BaseNode:
    """A copy with more metadata, hidden from models; `node` itself if there is none."""
    if not more:
        return node
    return node.model_copy(
        update={
            "metadata": {**node.metadata, **more},
            "excluded_embed_metadata_keys": list(dict.fromkeys([*node.excluded_embed_metadata_keys, *more])),
            "excluded_llm_metadata_keys": list(dict.fromkeys([*node.excluded_llm_metadata_keys, *more])),
        }
    )
