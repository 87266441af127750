"""Clients that others wrote call the gateway as they are: curl as LiteLLM's pages have it, and the vendors' SDKs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cohere
import httpx
import orjson
import pytest
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running
from voyageai import error as voyage_error
from voyageai.api_resources.api_requestor import _thread_context
from voyageai.client import Client as VoyageClient
from voyageai.client_async import AsyncClient as AsyncVoyageClient

from anyrerank.testing import StubServer

QUERY = "Which planet is red?"
DOCUMENTS = ["Venus is hot", "Mars is the red planet", "Jupiter is large"]

NVIDIA = """\
curl -X POST http://0.0.0.0:4000/rerank \\
  -H "Authorization: Bearer sk-1234" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "nvidia-rerank",
    "query": "What is the GPU memory bandwidth of H100?",
    "documents": [
      "H100 delivers 3TB/s memory bandwidth",
      "A100 has 2TB/s memory bandwidth",
      "V100 offers 900GB/s memory bandwidth"
    ],
    "top_n": 2
  }'
"""
"""From https://docs.litellm.ai/docs/providers/nvidia_nim_rerank."""

COHERE = """\
curl http://0.0.0.0:4000/rerank \\
  -H "Authorization: Bearer sk-1234" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "rerank-english-v3.0",
    "query": "What is the capital of the United States?",
    "documents": [
        "Carson City is the capital city of the American state of Nevada.",
        "The Commonwealth of the Northern Mariana Islands is a group of islands in the Pacific Ocean. Its capital is Saipan.",
        "Washington, D.C. is the capital of the United States.",
        "Capital punishment has existed in the United States since before it was a country."
    ],
    "top_n": 3
  }'
"""  # noqa: E501  the letter of the page
"""From https://docs.litellm.ai/docs/rerank."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(gateway_of([entry("rerank")])) as address:
        yield address


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "model", "best"),
    [
        (NVIDIA, ("nvidia-rerank", "nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2"), "H100 delivers"),
        (COHERE, ("rerank-english-v3.0", "cohere/rerank-english-v3.0"), "Washington, D.C. is"),
    ],
    ids=["nvidia", "cohere"],
)
def test_curl_of_the_pages_of_litellm(command: str, model: tuple[str, str], best: str, tmp_path: Path) -> None:
    name, provider = model
    with StubServer() as vendor:
        models = [entry(name, provider, api_key="vendor-key", api_base=vendor.url)]
        with running(gateway_of(models, master_key="sk-1234")) as url:
            address = url.removeprefix("http://")
            (tmp_path / ".curlrc").write_text(f'silent\nconnect-to = "0.0.0.0:4000:{address}"\nnoproxy = "*"\n')
            environment = {"PATH": "/usr/bin:/bin", "CURL_HOME": str(tmp_path)}
            shell = ["/bin/sh", "-c", command]
            done = subprocess.run(shell, env=environment, capture_output=True, check=True)  # noqa: S603

    answer = orjson.loads(done.stdout)
    rows = answer["results"]
    assert len(rows) == int(re.findall(r'"top_n": (\d)', command)[0])
    assert rows[0]["document"]["text"].startswith(best)
    assert rows[0]["relevance_score"] >= rows[1]["relevance_score"]
    assert isinstance(answer["id"], str)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


@pytest.mark.parametrize("base", ["", "/cohere"])
@pytest.mark.parametrize("kind", [cohere.Client, cohere.ClientV2])
def test_cohere_sdk(kind: Any, base: str, url: str, http: httpx.Client) -> None:
    client = kind(api_key=MASTER_KEY, base_url=f"{url}{base}", httpx_client=http, max_retries=0)
    answer = client.rerank(model="rerank", query=QUERY, documents=DOCUMENTS, top_n=2)
    assert [row.index for row in answer.results] == [1, 0]
    assert answer.results[0].relevance_score > answer.results[1].relevance_score
    if kind is cohere.Client:
        assert answer.results[0].document.text == DOCUMENTS[1]
    type(answer).model_validate(answer.model_dump())  # the SDK does not check types itself


@pytest.mark.parametrize("kind", [cohere.Client, cohere.ClientV2])
@pytest.mark.parametrize(
    ("key", "model", "raised"),
    [(MASTER_KEY, "unknown", cohere.NotFoundError), ("sk-wrong", "rerank", cohere.UnauthorizedError)],
)
def test_cohere_sdk_raises_its_own_errors(  # noqa: PLR0917
    kind: Any, key: str, model: str, raised: type[Exception], url: str, http: httpx.Client
) -> None:
    client = kind(api_key=key, base_url=f"{url}/cohere", httpx_client=http, max_retries=0)
    with pytest.raises(raised) as caught:
        client.rerank(model=model, query=QUERY, documents=DOCUMENTS)
    assert ("'unknown'" if model == "unknown" else "the key is not valid") in str(caught.value)


async def test_cohere_sdk_async(url: str) -> None:
    async with httpx.AsyncClient() as client:
        asynchronous: Any = cohere.AsyncClientV2
        sdk = asynchronous(api_key=MASTER_KEY, base_url=f"{url}/cohere", httpx_client=client, max_retries=0)
        answer = await sdk.rerank(model="rerank", query=QUERY, documents=DOCUMENTS)
    assert [row.index for row in answer.results] == [1, 0, 2]


@pytest.fixture
def _close_voyage_session() -> Iterator[None]:
    """The SDK caches a connection for each thread."""
    yield
    vars(_thread_context).pop("session").close()


@pytest.mark.usefixtures("_close_voyage_session")
@pytest.mark.parametrize("base", ["/voyage/v1", "/v1"])
def test_voyage_sdk(base: str, url: str) -> None:
    client = VoyageClient(api_key=MASTER_KEY, base_url=f"{url}{base}")
    answer = client.rerank(QUERY, DOCUMENTS, "rerank", top_k=2)
    assert [(row.index, row.document) for row in answer.results] == [(1, DOCUMENTS[1]), (0, DOCUMENTS[0])]
    assert answer.total_tokens == 0  # a model on this machine counts none


@pytest.mark.usefixtures("_close_voyage_session")
def test_voyage_sdk_raises_its_own_errors(url: str) -> None:
    with pytest.raises(voyage_error.VoyageError, match="'unknown'"):
        VoyageClient(api_key=MASTER_KEY, base_url=f"{url}/voyage/v1").rerank(QUERY, DOCUMENTS, "unknown")
    with pytest.raises(voyage_error.AuthenticationError):
        VoyageClient(api_key="sk-wrong", base_url=f"{url}/voyage/v1").rerank(QUERY, DOCUMENTS, "rerank")


async def test_voyage_sdk_async(url: str) -> None:
    answer = await AsyncVoyageClient(api_key=MASTER_KEY, base_url=f"{url}/voyage/v1").rerank(QUERY, DOCUMENTS, "rerank")
    assert [row.index for row in answer.results] == [1, 0, 2]
