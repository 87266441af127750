"""NVIDIA NIM: model names, hosted and self-hosted services, images, and answers that come later."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, case, recording, sent_by

from anyrerank import (
    APIResponseValidationError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
)
from anyrerank._core.engine import connect

MODEL = "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2"
VISION = "nvidia_nim/nvidia/llama-nemotron-rerank-vl-1b-v2"
HOSTED = "https://ai.api.nvidia.com/v1/retrieval"
STATUS = "https://api.nvcf.nvidia.com/v2/nvcf/pexec/status"


@pytest.mark.parametrize(
    ("model", "path", "in_body"),
    [
        ("nvidia/llama-nemotron-rerank-1b-v2", "nvidia/llama-nemotron-rerank-1b-v2/reranking", None),
        ("nvidia/llama-nemotron-rerank-vl-1b-v2", "nvidia/llama-nemotron-rerank-vl-1b-v2/reranking", None),
        (
            "nvidia/llama-3_2-nv-rerankqa-1b-v2",
            "nvidia/llama-3_2-nv-rerankqa-1b-v2/reranking",
            "nvidia/llama-3.2-nv-rerankqa-1b-v2",
        ),
        ("nvidia/llama-3.2-nv-rerankqa-1b-v1", "nvidia/llama-3_2-nv-rerankqa-1b-v1/reranking", None),
        ("nvidia/nv-rerankqa-mistral-4b-v3", "nvidia/nv-rerankqa-mistral-4b-v3/reranking", None),
        ("acme/my_reranker_v2", "acme/my_reranker_v2/reranking", None),
        ("acme/rank_2_1_b", "acme/rank_2_1_b/reranking", "acme/rank_2.1_b"),
        ("nv-rerank-qa-mistral-4b:1", "nvidia/reranking", None),
        ("ai-rerank-qa-mistral-4b", "nvidia/reranking", "nv-rerank-qa-mistral-4b:1"),
        ("nvidia/rerank-qa-mistral-4b", "nvidia/reranking", "nv-rerank-qa-mistral-4b:1"),
    ],
)
def test_hosted_model_name_in_path_and_body(model: str, path: str, in_body: str | None, sync_mode: Mode) -> None:
    request = sent_by(sync_mode, f"nvidia_nim/{model}")
    assert str(request.url) == f"{HOSTED}/{path}"
    assert json.loads(request.content)["model"] == (in_body or model)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://integrate.api.nvidia.com/v1", f"{HOSTED}/nvidia/llama-nemotron-rerank-1b-v2/reranking"),
        ("https://integrate.api.nvidia.com/", f"{HOSTED}/nvidia/llama-nemotron-rerank-1b-v2/reranking"),
        ("https://ai.api.nvidia.com/v1/", f"{HOSTED}/nvidia/llama-nemotron-rerank-1b-v2/reranking"),
        ("https://gw.example/nim", "https://gw.example/nim/v1/retrieval/nvidia/llama-nemotron-rerank-1b-v2/reranking"),
        ("https://gw.example/v1/retrieval/x/reranking/", "https://gw.example/v1/retrieval/x/reranking"),
        ("https://gw.example/v1/retrieval/x/reranking?t=1", "https://gw.example/v1/retrieval/x/reranking?t=1"),
        ("http://localhost:8000/v1/ranking/", "http://localhost:8000/v1/ranking"),
    ],
)
def test_hosted_url_composition(base: str, url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, api_base=base).url) == url


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1/ranking"),
        ("http://localhost:8000/", "http://localhost:8000/v1/ranking"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1/ranking"),
        ("http://localhost:8000/v1/ranking", "http://localhost:8000/v1/ranking"),
        ("http://localhost:8000/nim/v1/?t=1", "http://localhost:8000/nim/v1/ranking?t=1"),
        ("http://localhost:8000/v1/retrieval/x/reranking", "http://localhost:8000/v1/retrieval/x/reranking"),
    ],
)
@pytest.mark.parametrize("key", [None, KEY])
def test_self_hosted_url_and_key(base: str, url: str, key: str | None, sync_mode: Mode) -> None:
    request = sent_by(sync_mode, "nvidia_nim/ranking/acme/rank_1_2", api_base=base, api_key=key)
    assert str(request.url) == url
    assert json.loads(request.content)["model"] == "acme/rank_1_2"
    assert request.headers.get("authorization") == (f"Bearer {key}" if key else None)


@pytest.mark.parametrize("base", ["http://nim.example.com:8000", "https://nim.example.com/v1/ranking"])
def test_key_of_nvidias_service_is_not_sent_to_a_server_of_your_own(
    base: str, sync_mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = "nvidia_nim/ranking/nvidia/rerank-qa"
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-secret")
    sent = sent_by(sync_mode, model, api_base=base, api_key=None)
    assert "nvapi-secret" not in f"{sent.headers}"
    assert "nvapi-secret" in sent_by(sync_mode, "nvidia_nim/nvidia/rerank-qa", api_key=None).headers["authorization"]
    monkeypatch.setenv("NVIDIA_NIM_API_KEY", "own-secret")
    assert sent_by(sync_mode, model, api_base=base, api_key=None).headers["authorization"] == "Bearer own-secret"


def test_refusal_of_a_server_of_your_own_says_that_no_key_was_sent(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    model, base = "nvidia_nim/ranking/nvidia/rerank-qa", "http://nim.example.com:8000"
    for variable in (None, "NVIDIA_API_KEY"):
        if variable:
            monkeypatch.setenv(variable, "nvapi-secret")
        client = answering({"detail": "who are you?"}, 401).client(mode)
        with pytest.raises(AuthenticationError) as caught:
            mode.rerank(mode.reranker(model, api_base=base, api_key=None, http_client=client), "q", ["a"])
        sent = "(no key was sent: pass api_key= or set NVIDIA_NIM_API_KEY)"
        assert caught.value.message == f"NVIDIA NIM answered 401: who are you? {sent}"


def test_missing_key_for_another_host_names_the_way_to_a_server_of_your_own(mode: Mode) -> None:
    advice = "; for a NIM of your own, write nvidia_nim/ranking/nvidia/rerank-qa"
    for base, end in (("http://nim.example.com:8000", advice), (None, "or set NVIDIA_NIM_API_KEY or NVIDIA_API_KEY")):
        with pytest.raises(AuthenticationError) as caught:
            mode.rerank(mode.reranker("nvidia_nim/nvidia/rerank-qa", api_base=base, api_key=None), "q", ["a"])
        assert caught.value.message.endswith(end)


@pytest.mark.parametrize(
    ("model", "base", "says"),
    [
        (MODEL, "http://nim.example.com:8000", True),
        (MODEL, "https://ai.api.nvidia.com", False),
        ("nvidia_nim/ranking/nvidia/rerank-qa", "http://nim.example.com:8000", False),
    ],
)
def test_404_of_another_host_names_the_way_to_a_server_of_your_own(
    model: str, base: str, says: bool, mode: Mode
) -> None:
    replay = answering({"detail": "Not Found"}, status=404)
    with pytest.raises(NotFoundError) as caught:
        mode.rerank(mode.reranker(model, api_base=base, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert ("for a NIM of your own, write nvidia_nim/ranking/" in str(caught.value)) is says


def test_self_hosted_without_base_url_raises_before_sending(mode: Mode) -> None:
    replay = Replay([])
    reranker = mode.reranker("nvidia_nim/ranking/acme/rank", http_client=replay.client(mode))
    with pytest.raises(ConfigurationError, match="NVIDIA_NIM_API_BASE"):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert replay.seen == []


def test_top_n_and_default_truncate_are_not_sent(sync_mode: Mode) -> None:
    assert json.loads(sent_by(sync_mode, MODEL, top_n=1).content).keys() == {"model", "query", "passages"}


@pytest.mark.parametrize(("truncate", "sent"), [(True, "END"), (False, "NONE"), ("NONE", "NONE")])
def test_truncate_is_sent_as_a_word(truncate: Any, sent: str, sync_mode: Mode) -> None:
    assert json.loads(sent_by(sync_mode, MODEL, truncate=truncate).content)["truncate"] == sent


@pytest.mark.parametrize("truncate", ["START", "end", "", 1, ["END"]])
def test_wrong_truncate_raises_before_sending(truncate: Any, mode: Mode) -> None:
    replay = Replay([])
    with pytest.raises(BadRequestError, match="truncate must be"):
        mode.rerank(mode.reranker(MODEL, truncate=truncate, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    assert replay.seen == []


@pytest.mark.parametrize(
    ("image", "accepted"),
    [
        ("data:image/png;base64,AA==", True),
        ("https://pictures.example/a.png", False),
        ("charts/a.png", False),
        ("", False),
    ],
)
def test_image_must_be_a_data_url(image: str, accepted: bool, sync_mode: Mode) -> None:
    document = {"text": "a chart", "image": image}
    if accepted:
        assert json.loads(sent_by(sync_mode, VISION, [document]).content)["passages"] == [document]
    else:
        with pytest.raises(BadRequestError, match="base64 data URL") as caught:
            sent_by(sync_mode, VISION, ["words", document])
        assert caught.value.status_code is None
        assert caught.value.message.startswith("documents[1] has an image")
        assert not image or image not in str(caught.value)


def test_image_for_a_text_model_raises(sync_mode: Mode) -> None:
    image = {"image": "data:image/png;base64,AA=="}
    assert json.loads(sent_by(sync_mode, MODEL, [{**image, "text": "a chart"}]).content)["passages"] == [
        {"text": "a chart"}
    ]
    with pytest.raises(BadRequestError, match="an 'image', which this provider cannot rank, but no 'text'"):
        sent_by(sync_mode, MODEL, ["words", image])


def test_image_without_text_is_sent_without_a_text_field(sync_mode: Mode) -> None:
    image = {"image": "data:image/png;base64,AA=="}
    request = sent_by(sync_mode, VISION, [image, {**image, "text": ""}, {**image, "text": None}, "words"])
    assert json.loads(request.content)["passages"] == [image, image, image, {"text": "words"}]


@pytest.mark.parametrize(
    ("document", "rank_fields", "text"),
    [
        ({"text": "  "}, None, None),
        ({"text": " \n\u3000"}, ["text"], None),
        ({"text": " T "}, None, " T "),
        ({"title": "T"}, ["title"], "title: T\n"),
        ({"title": "T", "text": " "}, ["title"], "title: T\n"),
        ({"title": "T", "text": "x"}, ["title", "text"], "title: T\ntext: x\n"),
        ({"title": " ", "text": "x"}, ["title"], None),
        ({"title": None, "text": "x"}, ["title"], None),
        ({"title": "T"}, None, None),
    ],
)
def test_text_of_a_mapping_with_an_image_is_sent(
    document: dict[str, Any], rank_fields: list[str] | None, text: str | None, sync_mode: Mode
) -> None:
    image = {"image": "data:image/png;base64,AA=="}
    request = sent_by(sync_mode, VISION, [{**document, **image}], rank_fields=rank_fields)
    assert json.loads(request.content)["passages"] == [image if text is None else {"text": text, **image}]


@pytest.mark.parametrize(("model", "limit"), [(MODEL, 1000), (VISION, 512)])
def test_max_documents_depends_on_the_model(model: str, limit: int) -> None:
    assert connect(model).max_documents({}) == limit


def accepted(url: str, body: Any = None) -> dict[str, Any]:
    request = {"method": "POST", "url": url, "authorization": f"Bearer {KEY}", "json": body}
    return {"request": request, "response": {"status": 202, "headers": {"nvcf-reqid": "r-1"}, "text": ""}}


@pytest.mark.parametrize(
    "base",
    [
        "https://nim.example",
        "https://evilnvidia.com",
        "https://ai.api.nvidia.com.evil.example",
        "http://localhost:8000/v1/ranking",
        "https://evil.example/v1/retrieval/ai.api.nvidia.com/reranking",
    ],
)
def test_202_of_another_host_is_not_polled_at_nvidia(base: str, mode: Mode) -> None:
    replay = Replay([accepted(base)] * 2)
    reranker = mode.reranker(MODEL, api_base=base, http_client=replay.client(mode))
    with pytest.raises(APIResponseValidationError, match="a 202 means that the result comes later"):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert len(replay.seen) == 1


def test_login_that_looks_like_a_host_changes_no_host(mode: Mode) -> None:
    replay = Replay([accepted("https://evil.example/v1")] * 2)
    base = "https://nvidia.com@evil.example/v1"
    with pytest.raises(ConfigurationError, match="one Authorization header"):
        mode.rerank(mode.reranker(MODEL, api_base=base, http_client=replay.client(mode)), QUERY, DOCUMENTS)
    with_login = mode.reranker(MODEL, api_base=base, api_key=None, http_client=replay.client(mode))
    with pytest.raises(APIResponseValidationError):
        mode.rerank(with_login, QUERY, DOCUMENTS)
    assert [request.url.host for request in replay.seen] == ["evil.example"]
    assert KEY not in str(replay.seen[0].headers)


def test_polling_waits_between_requests(mode: Mode, waits: list[float]) -> None:
    recorded = case("nvidia_nim", "polled_twice")
    replay = Replay(recorded["exchanges"])
    response = mode.function(**recorded["call"], http_client=replay.client(mode), max_retries=0)
    assert [str(request.url) for request in replay.seen[1:]] == [f"{STATUS}/4c1f-77"] * 2
    assert len(response.attempts) == 1
    assert len(waits) == 1
    assert 0.1 <= waits[0] <= 2


def test_later_202_without_an_id_is_polled_at_the_same_url(mode: Mode, waits: list[float]) -> None:
    recorded = case("nvidia_nim", "polled_twice")
    first, second, last = recorded["exchanges"]
    silent = {**second, "response": {"status": 202, "headers": {}, "text": ""}}
    replay = Replay([first, silent, silent, last])
    response = mode.function(**recorded["call"], http_client=replay.client(mode), max_retries=0)
    assert [str(request.url) for request in replay.seen[1:]] == [f"{STATUS}/4c1f-77"] * 3
    assert len(response.results) == len(recorded["expect"]["results"])
    assert len(waits) == 2


def test_polling_stops_at_the_timeout(mode: Mode) -> None:
    polled = case("nvidia_nim", "polled_twice")["exchanges"]
    replay = Replay([polled[0], *polled[1:2] * 50])
    reranker = mode.reranker(MODEL, timeout=0.4, http_client=replay.client(mode))
    with pytest.raises(APITimeoutError, match="timed out"):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert 2 <= len(replay.seen) <= 10


def test_recorded_polls_have_the_authorization_of_the_call() -> None:
    polls = [
        exchange["request"]["authorization"] == each["exchanges"][0]["request"]["authorization"]
        for each in recording("nvidia_nim")["cases"]
        for exchange in each["exchanges"][1:]
    ]
    assert len(polls) >= 4
    assert all(polls)


@pytest.mark.parametrize("model", ["nvidia_nim/nvidia/x", "nvidia_nim/ranking/nvidia/x"])
def test_rerank_route_is_spoken_to_in_coheres_dialect(model: str, mode: Mode) -> None:
    rows = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": -3.5}]
    rows.append({"index": 2, "relevance_score": 0.5})
    replay = answering({"results": rows})
    reranker = mode.reranker(model, api_base="http://nim.test/v1/rerank", http_client=replay.client(mode), api_key=None)
    found = mode.rerank(reranker, QUERY, DOCUMENTS, top_n=2, truncate="END")
    assert str(replay.seen[0].url) == "http://nim.test/v1/rerank"
    assert json.loads(replay.seen[0].content) == {
        "model": "nvidia/x",
        "query": QUERY,
        "documents": DOCUMENTS,
        "truncate": "END",
    }
    assert list(found.results.pairs()) == [(1, 0.9), (2, 0.5)]
