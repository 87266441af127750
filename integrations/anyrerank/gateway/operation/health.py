"""Says whether the gateway lives, whether it is ready for requests, and how the deployments are doing.

Only `/health?deep=true` asks a provider.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import anyrerank
from anyrerank._core.client import DeploymentStatus, Router, deployments_of
from anyrerank._core.routing import is_wildcard
from anyrerank.errors import RerankError
from anyrerank.gateway.dialects import ParsedRequest
from anyrerank.gateway.errors import GatewayError, described, log_messages
from anyrerank.gateway.http import json_answer, master
from anyrerank.gateway.operation.host import Dependency, Host
from anyrerank.gateway.rerank import Caller, Service

LIVENESS = ("/health/liveliness", "/health/liveness", "/liveness", "/livez", "/healthz")
READINESS = ("/health/readiness", "/readiness", "/readyz")

_ASKED = ParsedRequest(
    query="What is the capital of France?", documents=("Bananas are yellow.", "The capital of France is Paris.")
)
_DEEP_SECONDS = 60.0
"""For how long the outcome of a deep check holds: it costs money."""


class Health:
    """The handlers."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._checking = asyncio.Lock()
        self._checked: tuple[Service, float, dict[str, str | None]] | None = None

    async def alive(self, _: Request) -> Response:
        """The event loop answers."""
        return json_answer("I'm alive!")

    async def ready(self, _: Request) -> Response:
        """Whether a load balancer may send requests, and why not."""
        reasons, degraded = self.reasons(), _found(self._host.helpers)
        status = 503 if reasons else 200
        body = {
            "status": "unhealthy" if reasons else "degraded" if degraded else "healthy",
            "reasons": reasons,
            "degraded": degraded,
            "anyrerank_version": anyrerank.__version__,
        }
        return json_answer(body, status)

    def reasons(self) -> dict[str, str]:
        """Why the gateway is not ready, by dependency."""
        host = self._host
        found = {"gateway": "it is shutting down" if host.draining else None}
        if not _has_usable_model(host.service.router):
            found["models"] = "no model has what it needs to be asked, such as a key"
        own = {name: reason for name, reason in found.items() if reason is not None}
        return own | _found(host.dependencies)

    async def overview(self, request: Request) -> Response:
        """The deployments of the models that the caller may use; numbers only for callers without a key."""
        service = self._host.service
        if request.query_params.get("deep", "").lower() == "true":
            caller: Caller | None = (payer := master(service, request.scope))
            faults: Mapping[str, str | None] = await self._deep(service, payer)
        else:
            caller, faults = _caller(service, request), {}
        return json_answer(_report(service, caller, faults))

    async def _deep(self, service: Service, payer: Caller) -> dict[str, str | None]:
        """What is wrong with each model when it is asked, or `None`."""
        async with self._checking:  # who comes meanwhile gets the same outcome
            known = self._checked
            if known is None or known[0] is not service or time.monotonic() - known[1] > _DEEP_SECONDS:
                names = [name for name in service.router.model_names if not is_wildcard(name)]
                found = await asyncio.gather(*(_fault(service.router, name, payer) for name in names))
                known = self._checked = (service, time.monotonic(), dict(zip(names, found, strict=True)))
            return known[2]


def _found(dependencies: Mapping[str, Dependency]) -> dict[str, str]:
    """What is wrong with each dependency that does not work."""
    found = {name: reason() for name, reason in dependencies.items()}
    return {name: reason for name, reason in found.items() if reason is not None}


def _has_usable_model(router: Router) -> bool:
    """Whether something can be asked; what a wildcard stands for is not known before it is asked."""
    return any(map(is_wildcard, router.model_names)) or any(each.fault() is None for _, each in deployments_of(router))


async def _fault(router: Router, name: str, payer: Caller) -> str | None:
    """What is wrong with a model, which is asked to rank a known pair; `payer` pays for it as for any other call."""
    reranker = router.as_reranker(name, ())
    try:
        async with payer.admitted(_ASKED, {"cache": None, "guardrails": ()}, reranker.options) as grant:
            response = await reranker.arerank(_ASKED.query, _ASKED.documents, **grant.options)
            grant.settle(response)
    except RerankError as error:
        log_messages(error, f"the deep check of {name}")
        return described(error)
    first, second = response.results.scores
    if first == second:
        return "it gives all documents the same score"
    return None if response.results.indexes[0] == 1 else "it ranks an unrelated document first"


def _caller(service: Service, request: Request) -> Caller | None:
    try:
        return service.access.caller(request.scope)
    except GatewayError:
        return None


def _cooling(status: DeploymentStatus) -> str | None:
    """Why a deployment cools down, or `None` if it does not."""
    if not status.cooldown:
        return None
    return "it is cooling down" + (f" after {described(status.error)}" if status.error else "")


def _report(service: Service, caller: Caller | None, faults: Mapping[str, str | None]) -> dict[str, Any]:
    """LiteLLM's answer."""
    healthy: list[dict[str, Any]] = []
    unhealthy: list[dict[str, Any]] = []
    seen = None if caller is None else set(service.names(caller))
    for each in service.router.deployment_status():
        entry = {"model_name": each.model_name, "model": each.deployment, "model_id": each.model_id}
        fault = _cooling(each) or faults.get(each.model_name)
        if seen is None or each.model_name in seen:
            (healthy if fault is None else unhealthy).append(entry if fault is None else {**entry, "error": fault})
    unhealthy += [
        {"model_name": name, "error": reason}
        for name, reason in service.absent.unavailable.items()
        if caller is None or caller.may_use(name)
    ]
    shown = {} if caller is None else {"healthy_endpoints": healthy, "unhealthy_endpoints": unhealthy}
    return {**shown, "healthy_count": len(healthy), "unhealthy_count": len(unhealthy)}
