"""A server that answers in the format of the provider."""

from typing import Any

import httpx
import orjson

from anyrerank import RerankResponse, rerank

COHERE = "cohere/rerank-v3.5"


class Server:
    """Answers in the format of the provider, and records the bodies of the requests."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.http_client = httpx.Client(transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = orjson.loads(request.content)
        self.bodies.append(body)
        if "passages" in body:
            rows = [{"index": index, "logit": -float(index)} for index in range(len(body["passages"]))]
            return httpx.Response(200, json={"rankings": rows})
        rows = [{"index": index, "relevance_score": 1 / (index + 1)} for index in range(len(body["documents"]))]
        return httpx.Response(200, json={"results": rows})

    def rerank(
        self, documents: Any = ("a", "b"), query: Any = "q", model: str = COHERE, **given: Any
    ) -> RerankResponse:
        return rerank(model, query, documents, api_key="key", http_client=self.http_client, **given)
