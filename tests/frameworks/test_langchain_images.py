"""Images in the metadata of LangChain documents."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from langchain_core.documents import Document
from tests.support.frameworks import COHERE, NVIDIA_VL, Face, Wire, face_fixture

from anyrerank import BadRequestError, RerankError

BASE64 = "iVBORw0KGgo="
PNG = f"data:image/png;base64,{BASE64}"


face = face_fixture("langchain")


@pytest.mark.parametrize("image", [PNG, BASE64], ids=["url", "base64"])
def test_image_is_sent_to_a_model_that_reads_images(face: Face, wire: Wire, image: str) -> None:
    documents = [
        Document("", metadata={"image": image}),
        Document("a cat 0.2", metadata={"image": image}),
        Document("words 1.5"),
    ]
    found = face.rerank(face.make(wire, model=NVIDIA_VL), documents)
    assert wire.sent == [{"image": PNG}, {"text": "a cat 0.2", "image": PNG}, {"text": "words 1.5"}]
    assert [document.page_content for document in found] == ["words 1.5", "a cat 0.2", ""]
    assert found[-1].metadata == {"image": image, "relevance_score": 0.0}


def test_image_url_is_sent_to_a_model_that_fetches_images(face: Face, wire: Wire) -> None:
    url = "https://images.test/cat.png"
    face.rerank(face.make(wire, model="jina_ai/jina-reranker-m0"), [Document("", metadata={"image": url})])
    assert wire.sent == [{"image": url}]


def test_image_is_sent_to_vllm_as_a_content_part(face: Face, wire: Wire) -> None:
    model = "hosted_vllm/Qwen/Qwen3-VL-Reranker-2B"
    documents = [Document("", metadata={"image": BASE64}), Document("a cat")]
    with contextlib.suppress(RerankError):  # the answer does not matter
        face.rerank(face.make(wire, model=model, api_base="http://vllm.test"), documents)
    assert wire.sent == [{"content": [{"type": "image_url", "image_url": {"url": PNG}}]}, "a cat"]


def test_image_url_is_refused_by_a_model_that_fetches_none(face: Face, wire: Wire) -> None:
    documents = [Document("a cat"), Document("", metadata={"image": "https://images.test/cat.png"})]
    with pytest.raises(BadRequestError, match=r"documents\[1\].*data URL"):
        face.rerank(face.make(wire, model=NVIDIA_VL), documents)
    assert wire.requests == []


@pytest.mark.parametrize("image", ["cover.png", "", None, 7, {"url": PNG}], ids=repr)
def test_other_metadata_under_image_is_ignored(face: Face, wire: Wire, image: Any) -> None:
    face.rerank(face.make(wire, model=NVIDIA_VL), [Document("words 1.5", metadata={"image": image})])
    assert wire.sent == [{"text": "words 1.5"}]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": COHERE},
        {"model": NVIDIA_VL, "rank_fields": ["text"]},
        {"model": NVIDIA_VL, "text_fn": lambda document: document.page_content},
    ],
    ids=["text model", "rank_fields", "text_fn"],
)
def test_image_is_not_sent(face: Face, wire: Wire, fields: dict[str, Any]) -> None:
    (found,) = face.rerank(face.make(wire, **fields), [Document("a cat 0.2", metadata={"image": PNG})])
    assert b"image" not in wire.requests[0].content
    assert found.metadata["image"] == PNG


def test_image_alone_is_blank_for_a_text_model(face: Face, wire: Wire) -> None:
    documents = [Document("", metadata={"image": PNG}), Document("words 1.5")]
    found = face.rerank(face.make(wire), documents)
    assert [document.metadata["relevance_score"] for document in found] == [1.5, None]
