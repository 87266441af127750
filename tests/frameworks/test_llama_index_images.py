"""Images of nodes in the LlamaIndex postprocessor."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from tests.support.frameworks import COHERE, NVIDIA_VL, Face, Wire, face_fixture, faces, scored_nodes

from anyrerank import BadRequestError

FACES = faces("llama_index")
face = face_fixture("llama_index")
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n0").decode()


def _found() -> list[NodeWithScore]:
    return scored_nodes("c 0.3", "a 0.9", "b 0.5")


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
def test_image_is_sent_to_a_model_that_reads_images(
    face: Face, wire: Wire, tmp_path: Path, make: Callable[[Path], Any], kind: str
) -> None:
    for name in ("pixel.png", "pixel.webp"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n0")
    items = [NodeWithScore(node=make(tmp_path)), NodeWithScore(node=TextNode(text="words 1.5"))]
    ranked = face.rerank(face.make(wire, model=NVIDIA_VL), items)
    assert wire.sent == [{"image": f"data:{kind};base64,{PIXEL}"}, {"text": "words 1.5"}]
    assert [item.node for item in ranked] == [items[1].node, items[0].node]


def test_image_is_sent_with_its_caption(face: Face, wire: Wire) -> None:
    (item,) = face.rerank(face.make(wire, model=NVIDIA_VL), [NodeWithScore(node=_image_node())])
    assert wire.sent == [{"text": "a caption 0.2", "image": f"data:image/jpeg;base64,{PIXEL}"}]
    assert item.score == 0.2


@pytest.mark.parametrize("fields", [{"model": COHERE}, {"model": COHERE, "images": "error"}], ids=str)
def test_image_is_refused_by_a_text_model(face: Face, wire: Wire, fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="images='skip'"):
        face.rerank(face.make(wire, **fields), [*_found(), NodeWithScore(node=_image_node())])
    assert wire.requests == []


@pytest.mark.parametrize(
    ("images", "captions", "sent"),
    [("skip", ["a 0.9", "b 0.5", "c 0.3", "a caption 0.2"], 3), ("text-only", ["a 0.9", "b 0.5", "c 0.3"], 4)],
)
def test_images_policy_of_a_text_model(face: Face, wire: Wire, images: str, captions: list[str], sent: int) -> None:
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
    """The threads that read files."""
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
def test_image_file_is_read_outside_of_the_event_loop(
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
def test_image_file_that_is_not_ranked_is_not_read(
    face: Face, wire: Wire, reads: list[int], make: Callable[[Path], Any], fields: dict[str, Any]
) -> None:
    items = [*_found(), NodeWithScore(node=make(Path.cwd() / "missing.png"))]
    assert len(face.rerank(face.make(wire, **fields), items)) == 4
    assert reads == []


def test_image_file_is_not_read_for_a_text_model(face: Face, wire: Wire, tmp_path: Path, reads: list[int]) -> None:
    items = [*_found(), NodeWithScore(node=ImageNode(image_path=str(tmp_path / "missing.png")))]
    with pytest.raises(BadRequestError, match=r"nodes\[3\] has an image, which .* does not read"):
        face.rerank(face.make(wire), items)
    assert (reads, wire.requests) == ([], [])


@pytest.mark.parametrize("make", PATHS)
def test_unreadable_image_file_is_an_error_with_the_index(
    face: Face, wire: Wire, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    items = [*_found(), NodeWithScore(node=make(tmp_path / "missing.png"))]
    with pytest.raises(BadRequestError, match=r"nodes\[3\] has an image that cannot be read: FileNotFound") as caught:
        face.rerank(face.make(wire, model=NVIDIA_VL), items)
    assert "missing" not in str(caught.value)
    assert wire.requests == []


def test_impossible_image_path_is_an_error_with_the_index(face: Face, wire: Wire) -> None:
    with pytest.raises(BadRequestError, match=r"nodes\[0\] has an image that cannot be read: ValueError"):
        face.rerank(face.make(wire, model=NVIDIA_VL), [NodeWithScore(node=ImageNode(image_url="file:///a%00b"))])
    assert wire.requests == []


@pytest.mark.parametrize(("fields", "count"), [({}, 3), ({"top_n": 2}, 2), ({"score_threshold": 0.1}, 0)], ids=str)
def test_skipped_images_alone_come_back_unranked(face: Face, wire: Wire, fields: dict[str, Any], count: int) -> None:
    nodes = [_image_node(), TextNode(text=" "), ImageNode(image=PIXEL)]
    items = [NodeWithScore(node=node, score=0.5) for node in nodes]
    ranked = face.rerank(face.make(wire, images="skip", **fields), items)
    assert [(item.node, item.score) for item in ranked] == [(node, None) for node in nodes[:count]]
    assert wire.requests == []


def test_text_only_sends_no_image(face: Face, wire: Wire) -> None:
    face.rerank(face.make(wire, model=NVIDIA_VL, images="text-only"), [NodeWithScore(node=_image_node())])
    assert wire.sent == [{"text": "a caption 0.2"}]


def test_image_in_the_query_is_refused(wire: Wire) -> None:
    query = QueryBundle("like this", image_path="query.png")
    with pytest.raises(BadRequestError, match="the query has an image"):
        FACES[0].make(wire, model=NVIDIA_VL).postprocess_nodes(_found(), query_bundle=query)
    assert wire.requests == []
    assert len(FACES[0].make(wire, images="text-only").postprocess_nodes(_found(), query_bundle=query)) == 3
    assert wire.body["query"] == "like this"
