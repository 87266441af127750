"""Servers behind a router: what each answers, and who was asked when."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.frameworks import Answer
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, leaks

from anyrerank import FallbackError, RerankError, RerankResponse, Router

COHERE = "cohere/rerank-v3.5"
ALMOST_1 = 1 - 2**-53
"""The largest number that `random.random` returns."""


def ok(request: httpx.Request) -> httpx.Response:
    """The incoming order, for one search unit."""
    found = json.loads(request.content)["documents"]
    rows = [{"index": index, "relevance_score": 1 / (2 + index)} for index in range(len(found))]
    return httpx.Response(200, json={"results": rows, "meta": {"billed_units": {"search_units": 1}}})


def fails(status: int = 500, **headers: str) -> Answer:
    return lambda request: httpx.Response(status, headers=headers, json={"message": "no"})


def limited(seconds: float) -> Answer:
    """429, and when to come again."""
    return fails(429, **{"retry-after": str(seconds)})


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def not_json(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>")


def entry(name: str, group: str = "r", **params: Any) -> dict[str, Any]:
    """The deployment on the host `name`."""
    connection = {"model": COHERE, "api_base": f"http://{name}.test", "api_key": f"{KEY}-{name}"}
    return {"model_name": group, "litellm_params": {**connection, **params}, "model_info": {"id": name}}


class World:
    """Servers by the names of their hosts, in one mode; remembers who was asked, and when."""

    def __init__(self, mode: Mode, clock: Clock, **answers: Answer) -> None:
        self.mode, self.clock = mode, clock
        self.answers = answers
        self.asked: list[str] = []
        self.times: list[float] = []
        self.requests: list[httpx.Request] = []
        self.client = mode.client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.partition(".")[0]
        self.asked.append(name)
        self.times.append(self.clock.now)
        self.requests.append(request)
        return self.answers.get(name, ok)(request)

    def router(self, *entries: Mapping[str, Any], **options: Any) -> Router:
        """A router in front of these servers, of which it asks the first one unless `clock.rng` says otherwise."""
        return Router(entries or [entry("a"), entry("b")], **{"http_client": self.client, **options})

    def ask(
        self, router: Router, model: str = "r", query: Any = QUERY, documents: Any = DOCUMENTS, **overrides: Any
    ) -> RerankResponse:
        if self.mode.asynchronous:
            return self.mode.run(router.arerank(model, query, documents, **overrides))
        return router.rerank(model, query, documents, **overrides)

    def error(self, router: Router, model: str = "r", **given: Any) -> RerankError:
        """What a call raises, which holds no key, query or document."""
        with pytest.raises(RerankError) as caught:
            self.ask(router, model, **given)
        assert not leaks(caught.value, [KEY, QUERY, *DOCUMENTS])
        return caught.value

    def drop(self) -> list[str]:
        """Who was asked since the last time."""
        found, self.asked[:] = list(self.asked), []
        return found


Worlds: TypeAlias = Callable[..., World]


def ids(response: RerankResponse | FallbackError) -> list[str | None]:
    """The deployments of all attempts."""
    return [attempt.model_id for attempt in response.attempts]


def status(router: Router, name: str = "a") -> Any:
    """How one deployment is doing."""
    (found,) = (each for each in router.deployment_status() if each.model_id == name)
    return found
