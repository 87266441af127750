"""`Reranker`, `Router`, `rerank` and `arerank`, and the phases of a call, which the adapters run themselves."""

from anyrerank._core.client.attributes import attributes, using_attributes
from anyrerank._core.client.base import BaseReranker
from anyrerank._core.client.batch_api import BatchApiReranker
from anyrerank._core.client.calls import add_documents, adriven, completed, driven, guarded, paused, prepared
from anyrerank._core.client.configured import Configured
from anyrerank._core.client.functions import FunctionKeywords, arerank, rerank
from anyrerank._core.client.inspection import (
    budgets_of,
    continue_routing,
    deployment_names,
    deployments_of,
    entries_of,
    fallbacks_before,
    fallbacks_of,
    identity_of,
    is_local,
    plans_of,
    scales_of,
    supported_options,
)
from anyrerank._core.client.progress import Bar
from anyrerank._core.client.reranker import Reranker, RerankerKeywords
from anyrerank._core.client.router import Router
from anyrerank._core.client.status import DeploymentStatus

__all__ = [
    "Bar",
    "BaseReranker",
    "BatchApiReranker",
    "Configured",
    "DeploymentStatus",
    "FunctionKeywords",
    "Reranker",
    "RerankerKeywords",
    "Router",
    "add_documents",
    "adriven",
    "arerank",
    "attributes",
    "budgets_of",
    "completed",
    "continue_routing",
    "deployment_names",
    "deployments_of",
    "driven",
    "entries_of",
    "fallbacks_before",
    "fallbacks_of",
    "guarded",
    "identity_of",
    "is_local",
    "paused",
    "plans_of",
    "prepared",
    "rerank",
    "scales_of",
    "supported_options",
    "using_attributes",
]
