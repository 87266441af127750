"""The models of a gateway as LiteLLM's and OpenAI's clients list them: never a key, never an address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from anyrerank._core.client import deployments_of
from anyrerank._core.engine import Deployment
from anyrerank._core.pricing import Price
from anyrerank._core.routing import is_wildcard
from anyrerank.errors import RerankError
from anyrerank.gateway.http import json_answer
from anyrerank.gateway.operation.host import Host

_CREATED = 1677610602
"""LiteLLM's and OpenAI's constant for models of an unknown age."""


class Models:
    """The handlers. A caller sees the models that its key may use."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def listed(self, request: Request) -> Response:
        """OpenAI's list."""
        names = self._names(request)
        data = [{"id": name, "object": "model", "created": _CREATED, "owned_by": "anyrerank"} for name in names]
        return json_answer({"object": "list", "data": data})

    async def info(self, request: Request) -> Response:
        """LiteLLM's list of deployments."""
        data = [
            {
                "model_name": name,
                "litellm_params": {"model": each.name},
                "model_info": {"id": each.model_id, "db_model": False, "mode": "rerank", **_prices(price_of(each))},
            }
            for name, members in self._members(request)
            for each in members
        ]
        return json_answer({"data": data})

    async def groups(self, request: Request) -> Response:
        """LiteLLM's list of names, with the price of the most expensive deployment."""
        data = [
            {
                "model_group": name,
                "providers": sorted({each.provider for each in members}),
                "mode": "rerank",
                **_dearest([price_of(each) for each in members]),
            }
            for name, members in self._members(request)
        ]
        return json_answer({"data": data})

    def _names(self, request: Request) -> list[str]:
        service = self._host.service
        return service.names(service.access.caller(request.scope))

    def _members(self, request: Request) -> Iterator[tuple[str, list[Deployment]]]:
        """The names that a caller may use, and their deployments; an alias has those of its name.

        A wildcard has none, and nor has a name for which only its fallbacks answer.
        """
        service = self._host.service
        router = service.router
        names = self._names(request)  # first: it makes the deployments of names that wildcards stand for
        known = deployments_of(router)
        for name in names:
            if not is_wildcard(name) and name not in service.absent.unavailable:
                group = router.as_reranker(name).deployment
                yield name, [each for other, each in known if other == group]


def price_of(deployment: Deployment) -> Price | None:
    """The price of a deployment, or `None` if it is not known, or its key is missing."""
    try:
        return deployment.price()
    except RerankError:
        return None


def _prices(price: Price | None) -> dict[str, float | None]:
    return {
        "input_cost_per_query": price.per_query if price else None,
        "input_cost_per_token": price.per_token if price else None,
    }


def _dearest(prices: Sequence[Price | None]) -> dict[str, Any]:
    rows = [_prices(price) for price in prices]
    return {
        name: max((row[name] for row in rows if row[name] is not None), default=None)  # type: ignore[type-var]
        for name in ("input_cost_per_query", "input_cost_per_token")
    }
