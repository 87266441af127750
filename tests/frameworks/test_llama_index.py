"""The LlamaIndex postprocessor: nodes in, nodes out, what is ranked of a node, and copies. What it shares with
LangChain's is in `test_adapter`, its events are in `test_llama_index_events`."""

from __future__ import annotations

import base64
import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from tests.support.frameworks import COHERE, LOCAL, NVIDIA, NVIDIA_VL, Face, Wire, refusing
from tests.support.harness import KEY

from anyrerank import BadRequestError, ConfigurationError, MemoryCache, Reranker
from anyrerank.llama_index import AnyRerank
from anyrerank.providers.cohere import Cohere

FACES = [Face("llama_index", asynchronous=False), Face("llama_index", asynchronous=True)]
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n0").decode()


@pytest.fixture(params=FACES, ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


def _found() -> list[NodeWithScore]:
    texts = ("c 0.3", "a 0.9", "b 0.5")
    return [NodeWithScore(node=TextNode(text=text, id_=text[0]), score=0.8) for text in texts]


def test_it_is_a_postprocessor() -> None:
    assert BaseNodePostprocessor in AnyRerank.__mro__
    assert AnyRerank.class_name() == "AnyRerank"
    assert "_apostprocess_nodes" in vars(AnyRerank)
    for public in ("postprocess_nodes", "apostprocess_nodes"):
        assert public not in vars(AnyRerank)


def test_new_wrappers_around_the_same_nodes(face: Face, wire: Wire) -> None:
    items = _found()
    hashes = [item.node.hash for item in items]
    ranked = face.rerank(face.make(wire), items)
    assert [(item.node.node_id, item.score) for item in ranked] == [("a", 0.9), ("b", 0.5), ("c", 0.3)]
    assert all(any(item.node is before.node for before in items) for item in ranked)
    assert not {id(item) for item in ranked} & {id(item) for item in items}
    assert [item.node.hash for item in items] == hashes
    assert [item.score for item in items] == [0.8, 0.8, 0.8]


def test_the_retrieval_score_is_kept_on_a_copy(face: Face, wire: Wire) -> None:
    items = _found()
    hashes = [item.node.hash for item in items]
    ranked = face.rerank(face.make(wire, keep_retrieval_score=True, top_n=1), items)
    assert ranked[0].node.metadata == {"retrieval_score": 0.8}
    assert (ranked[0].node.node_id, ranked[0].score) == ("a", 0.9)
    assert [item.node.metadata for item in items] == [{}, {}, {}]
    assert [item.node.hash for item in items] == hashes


def test_a_kept_retrieval_score_is_not_part_of_the_text(face: Face, wire: Wire) -> None:
    ranked = face.rerank(face.make(wire, keep_retrieval_score=True), _found())
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert [item.node.get_content(mode) for item in ranked] == ["a 0.9", "b 0.5", "c 0.3"]


def test_the_first_retrieval_score_stays_in_a_second_pass(face: Face, wire: Wire) -> None:
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
def test_every_form_of_a_query(wire: Wire, ask: Callable[..., Any]) -> None:
    assert len(ask(FACES[0].make(wire), _found())) == 3
    assert wire.body["query"] == "from a bundle"


async def test_a_query_bundle_asynchronously(wire: Wire) -> None:
    await FACES[1].make(wire).apostprocess_nodes(_found(), query_bundle=QueryBundle("from a bundle"))
    assert wire.body["query"] == "from a bundle"


async def test_a_missing_query_is_refused(wire: Wire) -> None:
    sync, awaited = (face.make(wire) for face in FACES)
    with pytest.raises(ValueError, match="needs a query"):
        sync.postprocess_nodes(_found())
    with pytest.raises(ValueError, match="needs a query"):
        await awaited.apostprocess_nodes(_found())
    assert sync.postprocess_nodes([]) == await awaited.apostprocess_nodes([]) == []
    assert wire.requests == []


def test_a_bare_node_is_a_helpful_error(face: Face, wire: Wire) -> None:
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
def test_what_is_ranked_of_a_node(face: Face, wire: Wire, fields: dict[str, Any], sent: str) -> None:
    (item,) = face.rerank(face.make(wire, **fields), _titled())
    assert wire.sent == [sent]
    assert item.score == 0.5


def test_a_blank_node_with_metadata_is_ranked_by_it(face: Face, wire: Wire) -> None:
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


def _image_node() -> ImageNode:
    return ImageNode(image=PIXEL, image_mimetype="image/jpeg", text="a caption 0.2")


IMAGES: list[Any] = [
    pytest.param(lambda tmp: ImageNode(image=PIXEL, image_mimetype="image/jpeg"), "image/jpeg", id="data"),
    pytest.param(lambda tmp: ImageNode(image=PIXEL), "image/png", id="data-of-no-type"),
    pytest.param(lambda tmp: ImageNode(image_path=str(tmp / "pixel.png")), "image/png", id="path"),
    pytest.param(lambda tmp: ImageNode(image_url=f"data:image/gif;base64,{PIXEL}"), "image/gif", id="url"),
    pytest.param(lambda tmp: Node(image_resource=MediaResource(path=tmp / "pixel.webp")), "image/webp", id="resource"),
    pytest.param(
        lambda tmp: Node(image_resource=MediaResource(data=b"\x89PNG\r\n\x1a\n0", mimetype="image/png")),
        "image/png",
        id="resource-of-bytes",
    ),
    pytest.param(lambda tmp: ImageDocument(image=PIXEL, image_mimetype="image/png"), "image/png", id="document"),
]


@pytest.mark.parametrize(("make", "kind"), IMAGES)
def test_an_image_reaches_a_model_that_reads_images(
    face: Face, wire: Wire, tmp_path: Path, make: Callable[[Path], Any], kind: str
) -> None:
    for name in ("pixel.png", "pixel.webp"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n0")
    items = [NodeWithScore(node=make(tmp_path)), NodeWithScore(node=TextNode(text="words 1.5"))]
    ranked = face.rerank(face.make(wire, model=NVIDIA_VL), items)
    assert wire.sent == [{"image": f"data:{kind};base64,{PIXEL}"}, {"text": "words 1.5"}]
    assert [item.node for item in ranked] == [items[1].node, items[0].node]


def test_an_image_with_a_caption(face: Face, wire: Wire) -> None:
    (item,) = face.rerank(face.make(wire, model=NVIDIA_VL), [NodeWithScore(node=_image_node())])
    assert wire.sent == [{"text": "a caption 0.2", "image": f"data:image/jpeg;base64,{PIXEL}"}]
    assert item.score == 0.2


@pytest.mark.parametrize("fields", [{"model": COHERE}, {"model": COHERE, "images": "error"}], ids=str)
def test_an_image_is_refused_where_it_would_be_ignored(face: Face, wire: Wire, fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="images='skip'"):
        face.rerank(face.make(wire, **fields), [*_found(), NodeWithScore(node=_image_node())])
    assert wire.requests == []


@pytest.mark.parametrize(
    ("images", "captions", "sent"),
    [("skip", ["a 0.9", "b 0.5", "c 0.3", "a caption 0.2"], 3), ("text-only", ["a 0.9", "b 0.5", "c 0.3"], 4)],
)
def test_images_that_the_model_does_not_read(
    face: Face, wire: Wire, images: str, captions: list[str], sent: int
) -> None:
    bare = ImageNode(image=PIXEL)
    items = [NodeWithScore(node=_image_node()), NodeWithScore(node=bare), *_found()]
    ranked = face.rerank(face.make(wire, images=images), items)
    assert [item.node.text for item in ranked][: len(captions)] == captions
    assert ranked[-1].node is bare
    assert [item.score for item in ranked if item.node is bare] == [None]
    assert len(wire.sent) == sent
    assert PIXEL not in str(wire.body)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The thread of every file that is read."""
    threads: list[int] = []
    read_bytes = Path.read_bytes

    def noted(path: Path) -> bytes:
        threads.append(threading.get_ident())
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    return threads


PATHS: list[Any] = [
    pytest.param(lambda path: ImageNode(image_path=str(path), text="a caption 0.2"), id="node"),
    pytest.param(lambda path: ImageNode(image_url=path.as_uri(), text="a caption 0.2"), id="address"),
    pytest.param(
        lambda path: Node(image_resource=MediaResource(path=path), text_resource=MediaResource(text="a caption 0.2")),
        id="resource",
    ),
]


@pytest.mark.parametrize("make", PATHS)
def test_a_file_is_read_where_it_holds_up_nothing(
    face: Face, wire: Wire, tmp_path: Path, reads: list[int], make: Callable[[Path], Any]
) -> None:
    path = tmp_path / "a pixel.png"
    path.write_bytes(base64.b64decode(PIXEL))
    face.rerank(face.make(wire, model=NVIDIA_VL), [NodeWithScore(node=make(path))])
    assert wire.sent == [{"text": "a caption 0.2", "image": f"data:image/png;base64,{PIXEL}"}]
    assert [thread == threading.get_ident() for thread in reads] == [not face.asynchronous]


@pytest.mark.parametrize("make", PATHS)
@pytest.mark.parametrize(
    "fields",
    [
        {"model": COHERE, "images": "skip"},
        {"model": COHERE, "images": "text-only"},
        {"model": NVIDIA_VL, "images": "text-only"},
        {"model": NVIDIA_VL, "rank_fields": ["text"]},
        {"model": NVIDIA_VL, "text_fn": lambda node: "text 0.2"},
    ],
    ids=["skip", "text-only", "text-only though read", "rank_fields", "text_fn"],
)
def test_a_file_that_is_not_wanted_is_not_read(
    face: Face, wire: Wire, reads: list[int], make: Callable[[Path], Any], fields: dict[str, Any]
) -> None:
    items = [*_found(), NodeWithScore(node=make(Path.cwd() / "missing.png"))]
    assert len(face.rerank(face.make(wire, **fields), items)) == 4
    assert reads == []


def test_a_model_that_reads_no_images_reads_no_file(face: Face, wire: Wire, tmp_path: Path, reads: list[int]) -> None:
    items = [*_found(), NodeWithScore(node=ImageNode(image_path=str(tmp_path / "missing.png")))]
    with pytest.raises(BadRequestError, match=r"nodes\[3\] has an image, which .* does not read"):
        face.rerank(face.make(wire), items)
    assert (reads, wire.requests) == ([], [])


@pytest.mark.parametrize("make", PATHS)
def test_a_file_that_cannot_be_read_is_named_by_its_node(
    face: Face, wire: Wire, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    items = [*_found(), NodeWithScore(node=make(tmp_path / "missing.png"))]
    with pytest.raises(BadRequestError, match=r"nodes\[3\] has an image that cannot be read: FileNotFound") as caught:
        face.rerank(face.make(wire, model=NVIDIA_VL), items)
    assert "missing" not in str(caught.value)
    assert wire.requests == []


def test_a_path_that_no_file_can_have_is_named_by_its_node(face: Face, wire: Wire) -> None:
    with pytest.raises(BadRequestError, match=r"nodes\[0\] has an image that cannot be read: ValueError"):
        face.rerank(face.make(wire, model=NVIDIA_VL), [NodeWithScore(node=ImageNode(image_url="file:///a%00b"))])
    assert wire.requests == []


@pytest.mark.parametrize(("fields", "count"), [({}, 3), ({"top_n": 2}, 2), ({"score_threshold": 0.1}, 0)], ids=str)
def test_images_alone_that_are_skipped_come_back_as_they_came(
    face: Face, wire: Wire, fields: dict[str, Any], count: int
) -> None:
    nodes = [_image_node(), TextNode(text=" "), ImageNode(image=PIXEL)]
    items = [NodeWithScore(node=node, score=0.5) for node in nodes]
    ranked = face.rerank(face.make(wire, images="skip", **fields), items)
    assert [(item.node, item.score) for item in ranked] == [(node, None) for node in nodes[:count]]
    assert wire.requests == []


def test_text_only_for_a_model_that_would_read_them(face: Face, wire: Wire) -> None:
    face.rerank(face.make(wire, model=NVIDIA_VL, images="text-only"), [NodeWithScore(node=_image_node())])
    assert wire.sent == [{"text": "a caption 0.2"}]


def test_an_image_in_the_query(wire: Wire) -> None:
    query = QueryBundle("like this", image_path="query.png")
    with pytest.raises(BadRequestError, match="the query has an image"):
        FACES[0].make(wire, model=NVIDIA_VL).postprocess_nodes(_found(), query_bundle=query)
    assert wire.requests == []
    assert len(FACES[0].make(wire, images="text-only").postprocess_nodes(_found(), query_bundle=query)) == 3
    assert wire.body["query"] == "like this"


def test_passthrough_does_not_touch_the_nodes(face: Face) -> None:
    items = _found()
    ranked = face.rerank(face.make(Wire(refusing(503)), on_error="passthrough"), items)
    assert [item.node for item in ranked] == [item.node for item in items]
    assert [item.score for item in items] == [0.8, 0.8, 0.8]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"top_n": 2, "score_threshold": 0.0, "score_mode": "unit", "max_retries": 0, "timeout": None, "fuse": None},
    {"metadata_mode": MetadataMode.LLM, "images": "skip", "rank_fields": ("title",), "keep_retrieval_score": True},
    {"api_base": "http://127.0.0.1:9/v2", "max_tokens_per_doc": 5, "extra_body": {"a": [1]}},
    {"model": NVIDIA, "truncate": "END", "fallbacks": (LOCAL,), "on_error": "passthrough", "drop_params": True},
    {"model": "rerank-v3.5", "provider": "cohere", "batch_size": 3, "max_concurrency": 2, "dedupe": True},
    {"metadata": {"team": "search", "tags": ["a"]}, "user": "ann"},
]


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
@pytest.mark.parametrize("form", ["dict", "json", "json of a dict"])
def test_a_round_trip_keeps_every_field(fields: dict[str, Any], form: str) -> None:
    reranker = AnyRerank(**{"model": COHERE, **fields})
    if form == "dict":
        restored = AnyRerank.from_dict(reranker.to_dict())
    elif form == "json":
        restored = AnyRerank.from_json(reranker.to_json())
    else:
        restored = AnyRerank.from_dict(json.loads(json.dumps(reranker.to_dict())))
    assert restored.to_dict() == reranker.to_dict()
    assert restored.to_dict()["class_name"] == "AnyRerank"
    assert restored.to_dict().items() >= fields.items()


def test_a_path_of_prices_is_written_as_text(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text("{}")
    restored = AnyRerank.from_json(AnyRerank(model=COHERE, prices=path).to_json())
    assert restored.prices == str(path)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"model": COHERE, "text_fn": str}, "text_fn cannot be dumped"),
        ({"reranker": Reranker(LOCAL)}, "a reranker or router cannot be dumped"),
        ({"model": COHERE, "fallbacks": [LOCAL, Reranker(NVIDIA)]}, "fallbacks cannot be dumped"),
        ({"model": "rerank-v3.5", "provider": Cohere}, "provider cannot be dumped"),
    ],
    ids=["text_fn", "reranker", "fallbacks", "provider"],
)
def test_what_would_rank_otherwise_is_not_written_down(fields: dict[str, Any], problem: str) -> None:
    for write in (AnyRerank.to_dict, AnyRerank.to_json):
        with pytest.raises(ConfigurationError, match=problem):
            write(AnyRerank(**fields))


def test_what_ranks_the_same_without_it_is_left_out(wire: Wire) -> None:
    plain = AnyRerank(model=COHERE)
    full = AnyRerank(
        model=COHERE,
        hooks=[print],
        cache=MemoryCache(),
        http_client=wire.client(asynchronous=False),
        headers={"a": "b"},
    )
    assert full.to_dict() == plain.to_dict()


def test_a_restored_one_is_equal(wire: Wire) -> None:
    reranker = AnyRerank(model=COHERE, top_n=2)
    assert AnyRerank.from_json(reranker.to_json()) == reranker
    assert AnyRerank.from_json(reranker.to_json(), top_n=3) != reranker


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_no_dump_holds_a_secret(face: Face, wire: Wire, used: bool) -> None:
    reranker = face.make(wire, headers={"x-secret": "header-5Gk2"})
    if used:
        face.rerank(reranker, _found())
    shown = [str(reranker.to_dict()), reranker.to_json(), reranker.json(), repr(reranker), str(reranker.dict())]
    assert not [text for text in shown if KEY in text or "header-5Gk2" in text]


def test_a_restored_one_finds_its_key_again(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = face.make(api_base="http://proxy", top_n=1).to_json()
    monkeypatch.setenv("COHERE_API_KEY", "from-environment")
    restored = AnyRerank.from_json(stored, http_client=wire.client(asynchronous=face.asynchronous))
    assert len(face.rerank(restored, _found())) == 1
    assert wire.requests[0].headers["authorization"] == "Bearer from-environment"
    assert str(wire.requests[0].url) == "http://proxy/v2/rerank"


def test_a_dump_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(BadRequestError, match="top_k"):
        AnyRerank.from_dict({**AnyRerank(model=COHERE).to_dict(), "top_k": 2})


def test_an_unpickled_one_keeps_its_metadata_mode_and_key() -> None:
    original = AnyRerank(model=COHERE, api_key=KEY, metadata_mode=MetadataMode.LLM)
    restored = pickle.loads(pickle.dumps(original))  # noqa: S301
    assert restored.metadata_mode is MetadataMode.LLM
    assert restored.api_key == original.api_key


def test_a_threshold_that_nothing_reaches(face: Face) -> None:
    assert face.rerank(face.make(Wire(), score_threshold=1.0), _found()) == []
