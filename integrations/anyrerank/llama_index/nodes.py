"""LlamaIndex nodes as the core takes them, and as they come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode

from anyrerank._adapters import projected
from anyrerank._core.client import BaseReranker
from anyrerank._core.runtime import Blocking, Flow
from anyrerank._core.types import Document, Results
from anyrerank.errors import BadRequestError
from anyrerank.llama_index.images import image_of, read_images

TextFunction = Callable[[BaseNode], Document]
"""Gives the text that is ranked, or a mapping for a provider that ranks more than text."""

ImagePolicy = Literal["error", "skip", "text-only"]


@dataclass(frozen=True, slots=True)
class Texts:
    """What is ranked of nodes.

    Attributes:
        text_fn: Gives it, or `None`.
        rank_fields: Metadata fields to rank on, or `None`.
        metadata_mode: Which metadata is ranked with the text.
        images: What to do with nodes whose image the model does not read.
    """

    text_fn: TextFunction | None
    rank_fields: Sequence[str] | None
    metadata_mode: MetadataMode
    images: ImagePolicy

    def of(self, nodes: Sequence[NodeWithScore], query: QueryBundle, core: BaseReranker) -> Flow[list[Document]]:
        """The documents that `core` ranks; image files are read.

        Raises:
            BadRequestError: One of them is no node, or has an image that cannot be ranked or read.
        """
        _check(nodes)
        if query.image_path is not None and self.images == "error":
            raise BadRequestError("the query holds an image, and no provider ranks by images: images='text-only'")
        if self.text_fn is not None:
            return [self.text_fn(found.node) for found in nodes]
        if self.rank_fields:
            return [_fields_of(found.node, self.rank_fields) for found in nodes]
        texts: list[Document] = [self._text(found.node) for found in nodes]
        if self.images == "text-only" or {type(found.node) for found in nodes} == {TextNode}:
            return texts
        return (yield from self._with_images(texts, [found.node for found in nodes], core))

    def _text(self, node: BaseNode) -> str:
        if type(node) is TextNode and not node.metadata:
            return node.text
        return node.get_content(self.metadata_mode)

    def _with_images(
        self, texts: list[Document], nodes: Sequence[BaseNode], core: BaseReranker
    ) -> Flow[list[Document]]:
        """The texts, with the images that the model reads, or blank where it does not read them."""
        images = {index: image for index, node in enumerate(nodes) if (image := image_of(node)) is not None}
        if not images:
            return texts
        if core.accepts_images:
            read: Mapping[int, str] = yield Blocking(partial(read_images, images))
            return [_with_image(text, read[index]) if index in read else text for index, text in enumerate(texts)]
        if self.images == "skip":
            return ["" if index in images else text for index, text in enumerate(texts)]
        raise BadRequestError(
            f"nodes[{min(images)}] has an image, which {core.deployment} does not read: images='skip' puts it last, "
            "'text-only' ranks its text"
        )


def _check(nodes: Sequence[object]) -> None:
    for index, node in enumerate(nodes):
        if not isinstance(node, NodeWithScore):
            raise BadRequestError(
                f"nodes[{index}] must be a NodeWithScore, got {type(node).__name__}: wrap it in NodeWithScore(node=...)"
            )


def _fields_of(node: BaseNode, names: Sequence[str]) -> dict[str, str]:
    return projected({**node.metadata, "text": node.get_content(MetadataMode.NONE)}, names)


def _with_image(text: Document, image: str) -> Document:
    return {"image": image, **({"text": text} if isinstance(text, str) and text.strip() else {})}


def scored(nodes: Sequence[NodeWithScore], ranked: Results, *, keep_retrieval_score: bool) -> list[NodeWithScore]:
    """New wrappers around the nodes, in the order of the results."""
    return [
        NodeWithScore(
            node=_with_retrieval_score(nodes[index]) if keep_retrieval_score else nodes[index].node, score=score
        )
        for index, score in ranked.pairs()
    ]


def _with_retrieval_score(found: NodeWithScore) -> BaseNode:
    """A copy with the score in its metadata, which models do not see; the first score stays."""
    name, node = "retrieval_score", found.node
    return node.model_copy(
        update={
            "metadata": {**node.metadata, name: node.metadata.get(name, found.score)},
            "excluded_embed_metadata_keys": list(dict.fromkeys([*node.excluded_embed_metadata_keys, name])),
            "excluded_llm_metadata_keys": list(dict.fromkeys([*node.excluded_llm_metadata_keys, name])),
        }
    )
