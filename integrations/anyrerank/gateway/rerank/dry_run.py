"""The requests and the cost of a call, for `x-anyrerank-dry-run: true`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from anyrerank._core.client import BaseReranker, deployments_of, plans_of
from anyrerank._core.engine import Deployment, Plan
from anyrerank.errors import RerankError
from anyrerank.gateway.body import header
from anyrerank.gateway.dialects import ParsedRequest
from anyrerank.gateway.rerank.service import Service


def is_dry_run(scope: Scope) -> bool:
    """Whether a request only wants to know what it would cost."""
    return (header(scope, b"x-anyrerank-dry-run") or "").lower() in {"true", "1"}


async def dry_run(
    service: Service, model: str, reranker: BaseReranker, asked: ParsedRequest, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The deployments that may be asked: those of the model, then those of its fallbacks. Nothing is sent.

    Raises:
        RerankError: The request is wrong.
    """
    plans = await asyncio.to_thread(plans_of, reranker, asked.query, asked.documents, options)
    names = {each.model_id: name for name, each in deployments_of(service.router)}
    return {
        "object": "rerank.dry_run",
        "model": model,
        "documents": len(asked.documents),
        "deployments": [_row(names.get(each.model_id), each, plan, len(asked.documents)) for each, plan in plans],
    }


def _row(name: str | None, deployment: Deployment, plan: Plan | RerankError, documents: int) -> dict[str, Any]:
    row = {"model_name": name, "model_id": deployment.model_id, "deployment": deployment.name}
    if isinstance(plan, RerankError):
        return {**row, "error": type(plan).__name__}
    return {
        **row,
        "requests": plan.requests,
        "documents": plan.documents,
        "not_sent": documents - plan.documents,
        "search_units": plan.units,
        "dollars": plan.dollars,
    }
