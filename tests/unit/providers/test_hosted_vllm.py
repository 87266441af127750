"""vLLM: the path on which the key is checked, many options, and texts that are too long."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, answering, leaks, sent_by
from tests.support.loopback import Line, Loopback, ranking

from anyrerank import BadRequestError, InternalServerError

MODEL = "hosted_vllm/BAAI/bge-reranker-base"
HOST = "http://vllm.example:8000"
LONG = "Ottawa is the capital. " * 40


@pytest.mark.parametrize(
    ("base", "path"),
    [
        (HOST, "/v1/rerank"),
        (f"{HOST}/v1", "/v1/rerank"),
        (f"{HOST}/v1/rerank", "/v1/rerank"),
        (f"{HOST}/v2/", "/v2/rerank"),
        (f"{HOST}/v2/rerank", "/v2/rerank"),
        (f"{HOST}/rerank", "/rerank"),
        (f"{HOST}/team-a", "/team-a/v1/rerank"),
    ],
)
def test_path_is_v1_rerank_unless_the_base_url_names_another(base: str, path: str, sync_mode: Mode) -> None:
    assert sent_by(sync_mode, MODEL, api_base=base).url.path == path


@pytest.mark.parametrize("key", [None, "", " "])
def test_missing_key_sends_no_authorization(key: str | None, sync_mode: Mode) -> None:
    assert "authorization" not in sent_by(sync_mode, MODEL, api_base=HOST, api_key=key).headers


@pytest.mark.parametrize("top_n", [None, 1, 3, 9])
def test_top_n_is_sent_only_when_given(top_n: int | None, sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, api_base=HOST, top_n=top_n).content)
    assert body == {
        "model": "BAAI/bge-reranker-base",
        "query": QUERY,
        "documents": DOCUMENTS,
        **({} if top_n is None else {"top_n": min(top_n, 3)}),
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cache_salt", "s4lt"),
        ("chat_template_kwargs", {"instruction": "Find the capital.", "enable_thinking": False}),
        ("chat_template_kwargs", {}),
        ("instruction", "Find the capital."),
        ("max_tokens_per_doc", 1),
        ("max_tokens_per_query", 64),
        ("mm_processor_kwargs", {"num_crops": 4}),
        ("padding", False),
        ("priority", 0),
        ("priority", -1),
        ("request_id", "q-17"),
        ("truncate_prompt_tokens", -1),
        ("truncation_side", "right"),
        ("use_activation", False),
    ],
)
def test_option_is_sent_with_any_value(option: str, value: Any, sync_mode: Mode) -> None:
    body = json.loads(sent_by(sync_mode, MODEL, api_base=HOST, **{option: value}).content)
    assert {name: body[name] for name in body.keys() - {"model", "query", "documents"}} == {option: value}


def short_enough(line: Line) -> None:
    """Reject a request with a long text as vLLM does: without naming the text."""
    if max(map(len, line.hit.documents)) > 500:
        message = "This model's maximum context length is 512 tokens. However, your prompt contains 700 input tokens."
        error = {"message": message, "type": "BadRequestError", "param": "input_tokens", "code": 400}
        line.answer(400, {"error": error})
        return
    line.answer(body=ranking(line.hit.documents))


@pytest.mark.parametrize("index", [0, 2, 5])
def test_error_for_a_long_text_names_its_index_in_the_call(
    index: int, serve: Callable[..., Loopback], mode: Mode
) -> None:
    server = serve(short_enough)
    documents = ["Lisbon", "", "Ottawa", "Sydney", "Quito", "Hanoi"]
    documents[index] = LONG
    with pytest.raises(BadRequestError) as caught:
        mode.rerank(mode.reranker(MODEL, api_base=server.url), QUERY, documents)
    assert caught.value.message.startswith(f"documents[{index}] is too large for the provider")
    assert "maximum context length is 512 tokens" in caught.value.message
    assert caught.value.status_code == 400
    assert len(server.hits[0].documents) == 5
    assert server.hits[-1].documents == [LONG]
    assert not leaks(caught.value, [KEY, QUERY, LONG.strip()])


@pytest.mark.parametrize(
    "error",
    [
        {"message": "max_tokens_per_doc must be less than 512", "type": "BadRequestError", "param": None, "code": 400},
        {"message": "top_n: Input should be a valid integer", "type": "BadRequestError", "param": "top_n", "code": 400},
    ],
)
def test_other_400_is_not_retried_with_smaller_batches(
    error: dict[str, Any], serve: Callable[..., Loopback], mode: Mode
) -> None:
    server = serve(lambda line: line.answer(400, {"error": error}))
    with pytest.raises(BadRequestError) as caught:
        mode.rerank(mode.reranker(MODEL, api_base=server.url), QUERY, DOCUMENTS)
    assert error["message"] in caught.value.message
    assert len(server.hits) == 1


@pytest.mark.parametrize(("status", "requests"), [(500, 3), (501, 1)])
def test_status_501_is_not_retried(
    status: int, requests: int, serve: Callable[..., Loopback], mode: Mode, waits: list[float]
) -> None:
    error = {"message": "not supported", "type": "Error", "param": None, "code": status}
    server = serve(lambda line: line.answer(status, {"error": error}))
    with pytest.raises(InternalServerError):
        mode.rerank(mode.reranker(MODEL, api_base=server.url, max_retries=2), QUERY, DOCUMENTS)
    assert (len(server.hits), len(waits)) == (requests, requests - 1)


# Images

VL = "hosted_vllm/Qwen/Qwen3-VL-Reranker-2B"
PNG = "data:image/png;base64,iVBORw0KGgo="
PART = {"type": "image_url", "image_url": {"url": PNG}}


def test_images_and_content_parts_are_sent_to_a_model_that_reads_them(mode: Mode) -> None:
    video = {"content": [{"type": "video_url", "video_url": {"url": "https://v.test/a.mp4"}}]}
    documents: list[Any] = ["plain", {"text": "mapped"}, {"image": PNG}, {"image": PNG, "text": "a cat"}, video]
    sent = json.loads(sent_by(mode, VL, documents, api_base=HOST).content)["documents"]
    with_text = {"content": [PART, {"type": "text", "text": "a cat"}]}
    assert sent == ["plain", "mapped", {"content": [PART]}, with_text, video]


def test_content_parts_come_back_as_given_and_are_told_apart(mode: Mode) -> None:
    documents = [{"content": [{"type": "text", "text": text}], "page": 3} for text in ("a", "b", "a")]
    rows = [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.9}]
    replay = answering({"results": rows})
    reranker = mode.reranker(VL, api_base=HOST, http_client=replay.client(mode), dedupe=True)
    found = mode.rerank(reranker, QUERY, documents)
    assert [result.index for result in found.results] == [1, 0, 2]
    assert found.results[0].document is documents[1]
    assert len(json.loads(replay.seen[0].content)["documents"]) == 2


@pytest.mark.parametrize("document", [{"content": [PART]}, {"image": PNG}])
def test_image_is_refused_for_a_text_model(document: dict[str, Any], mode: Mode) -> None:
    with pytest.raises(BadRequestError, match=r"documents\[0\]"):
        sent_by(mode, MODEL, [document], api_base=HOST)
    body = json.loads(sent_by(mode, MODEL, [{**document, "text": "a cat"}], api_base=HOST).content)
    assert body["documents"] == ["a cat"]


@pytest.mark.parametrize("document", [{"content": []}, {"content": "text"}, {"content": None}])
def test_content_that_holds_no_parts_is_refused(document: dict[str, Any], mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="no 'text' string"):
        sent_by(mode, VL, [document], api_base=HOST)
