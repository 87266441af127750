"""The LlamaIndex postprocessor: nodes in, nodes out, and what is ranked of a node."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    MetadataMode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from tests.support.frameworks import NVIDIA, Face, Wire, face_fixture, faces, refusing, scored_nodes

from anyrerank import BadRequestError
from anyrerank.llama_index import AnyRerank

FACES = faces("llama_index")
face = face_fixture("llama_index")
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n0").decode()


def _found() -> list[NodeWithScore]:
    return scored_nodes("c 0.3", "a 0.9", "b 0.5")


def test_class_is_a_postprocessor() -> None:
    assert BaseNodePostprocessor in AnyRerank.__mro__
    assert AnyRerank.class_name() == "AnyRerank"
    assert "_apostprocess_nodes" in vars(AnyRerank)
    for public in ("postprocess_nodes", "apostprocess_nodes"):
        assert public not in vars(AnyRerank)


def test_result_wraps_the_same_nodes(face: Face, wire: Wire) -> None:
    items = _found()
    hashes = [item.node.hash for item in items]
    ranked = face.rerank(face.make(wire), items)
    assert [(item.node.node_id, item.score) for item in ranked] == [("a", 0.9), ("b", 0.5), ("c", 0.3)]
    assert all(any(item.node is before.node for before in items) for item in ranked)
    assert not {id(item) for item in ranked} & {id(item) for item in items}
    assert [item.node.hash for item in items] == hashes
    assert [item.score for item in items] == [0.8, 0.8, 0.8]


def test_retrieval_score_is_kept_on_a_copy(face: Face, wire: Wire) -> None:
    items = _found()
    hashes = [item.node.hash for item in items]
    ranked = face.rerank(face.make(wire, keep_retrieval_score=True, top_n=1), items)
    assert ranked[0].node.metadata == {"retrieval_score": 0.8}
    assert (ranked[0].node.node_id, ranked[0].score) == ("a", 0.9)
    assert [item.node.metadata for item in items] == [{}, {}, {}]
    assert [item.node.hash for item in items] == hashes


def test_retrieval_score_is_hidden_from_models(face: Face, wire: Wire) -> None:
    ranked = face.rerank(face.make(wire, keep_retrieval_score=True), _found())
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert [item.node.get_content(mode) for item in ranked] == ["a 0.9", "b 0.5", "c 0.3"]


def test_first_retrieval_score_is_kept_in_a_second_rerank(face: Face, wire: Wire) -> None:
    ranked = _found()
    for _ in range(2):
        ranked = face.rerank(face.make(wire, keep_retrieval_score=True), ranked)
    for item in ranked:
        assert item.node.metadata == {"retrieval_score": 0.8}
        assert item.node.excluded_embed_metadata_keys == ["retrieval_score"]
        assert item.node.excluded_llm_metadata_keys == ["retrieval_score"]


def _query_bundle(adapter: Any, nodes: list[NodeWithScore]) -> Any:
    return adapter.postprocess_nodes(nodes, query_bundle=QueryBundle("from a bundle"))


def _query_str(adapter: Any, nodes: list[NodeWithScore]) -> Any:
    return adapter.postprocess_nodes(nodes, query_str="from a bundle")


def _positional(adapter: Any, nodes: list[NodeWithScore]) -> Any:
    return adapter.postprocess_nodes(nodes, QueryBundle("from a bundle", custom_embedding_strs=["other"]))


@pytest.mark.parametrize("ask", [_query_bundle, _query_str, _positional])
def test_query_is_accepted_in_every_form(wire: Wire, ask: Callable[..., Any]) -> None:
    assert len(ask(FACES[0].make(wire), _found())) == 3
    assert wire.body["query"] == "from a bundle"


async def test_query_bundle_is_accepted_asynchronously(wire: Wire) -> None:
    await FACES[1].make(wire).apostprocess_nodes(_found(), query_bundle=QueryBundle("from a bundle"))
    assert wire.body["query"] == "from a bundle"


async def test_missing_query_is_refused(wire: Wire) -> None:
    sync, awaited = (face.make(wire) for face in FACES)
    with pytest.raises(ValueError, match="needs a query"):
        sync.postprocess_nodes(_found())
    with pytest.raises(ValueError, match="needs a query"):
        await awaited.apostprocess_nodes(_found())
    assert sync.postprocess_nodes([]) == await awaited.apostprocess_nodes([]) == []
    assert wire.requests == []


async def test_string_in_the_place_of_a_query_bundle_is_refused(wire: Wire) -> None:
    sync, awaited = (face.make(wire) for face in FACES)
    with pytest.raises(BadRequestError, match="must be a QueryBundle, got str: pass a string as query_str="):
        sync.postprocess_nodes(_found(), "a question")
    with pytest.raises(BadRequestError, match="must be a QueryBundle, got str: pass a string as query_str="):
        await awaited.apostprocess_nodes(_found(), "a question")
    assert wire.requests == []


def test_callback_manager_of_none_is_an_empty_one(face: Face, wire: Wire) -> None:
    adapter = face.make(wire, callback_manager=None)
    assert len(face.rerank(adapter, _found())) == 3
    adapter.callback_manager = None
    assert len(face.rerank(adapter, _found())) == 3


def test_bare_node_is_refused(face: Face, wire: Wire) -> None:
    with pytest.raises(BadRequestError, match=r"nodes\[1\] must be a NodeWithScore, got TextNode"):
        face.rerank(face.make(wire), [_found()[0], TextNode(text="bare")])
    assert wire.requests == []


def _titled() -> list[NodeWithScore]:
    node = TextNode(
        text="body 0.5",
        metadata={"title": "T", "secret": "S", "for_llm": "L"},
        excluded_embed_metadata_keys=["secret", "for_llm"],
        excluded_llm_metadata_keys=["secret"],
        text_template="{metadata_str}|{content}",
        metadata_seperator=";",
        metadata_template="{key}={value}",
    )
    return [NodeWithScore(node=node)]


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, "title=T|body 0.5"),
        ({"metadata_mode": MetadataMode.EMBED}, "title=T|body 0.5"),
        ({"metadata_mode": "embed"}, "title=T|body 0.5"),
        ({"metadata_mode": MetadataMode.LLM}, "title=T;for_llm=L|body 0.5"),
        ({"metadata_mode": MetadataMode.NONE}, "body 0.5"),
        ({"metadata_mode": MetadataMode.ALL}, "title=T;secret=S;for_llm=L|body 0.5"),
        ({"text_fn": lambda node: node.metadata["title"] + " 0.5"}, "T 0.5"),
    ],
    ids=["default", "embed", "'embed'", "llm", "none", "all", "text_fn"],
)
def test_metadata_mode_and_text_fn_set_the_ranked_text(
    face: Face, wire: Wire, fields: dict[str, Any], sent: str
) -> None:
    (item,) = face.rerank(face.make(wire, **fields), _titled())
    assert wire.sent == [sent]
    assert item.score == 0.5


def test_blank_node_is_ranked_by_its_metadata(face: Face, wire: Wire) -> None:
    items = [NodeWithScore(node=TextNode(text="", metadata={"title": "T 0.4"})), NodeWithScore(node=TextNode(text=""))]
    assert [item.score for item in face.rerank(face.make(wire), items)] == [0.4, None]
    assert wire.sent == ["title: T 0.4"]


def test_unit_scores_pass_a_similarity_cutoff(face: Face, wire: Wire) -> None:
    items = [face.item(text) for text in ("bad -6", "so so -0.1", "good 5")]
    cutoff = SimilarityPostprocessor(similarity_cutoff=0.4)
    raw = face.rerank(face.make(wire, model=NVIDIA), items)
    unit = face.rerank(face.make(wire, model=NVIDIA, score_mode="unit"), items)
    assert [item.text for item in cutoff.postprocess_nodes(raw)] == ["good 5"]
    assert [item.text for item in cutoff.postprocess_nodes(unit)] == ["good 5", "so so -0.1"]


def test_passthrough_does_not_change_the_nodes(face: Face) -> None:
    items = _found()
    ranked = face.rerank(face.make(Wire(refusing(503)), on_error="passthrough"), items)
    assert [item.node for item in ranked] == [item.node for item in items]
    assert [item.score for item in items] == [0.8, 0.8, 0.8]


def test_threshold_above_all_scores_returns_nothing(face: Face) -> None:
    assert face.rerank(face.make(Wire(), score_threshold=1.0), _found()) == []
