"""Rerank retrieved chunks through any provider, in the pipeline you already have.

`rerank` and `arerank` for one call, `Reranker` to keep, `Router` for several deployments. `anyrerank.langchain` and
`anyrerank.llama_index` hold the adapters for those frameworks, and import them only when they are imported themselves.
"""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from anyrerank.attributes import using_attributes
    from anyrerank.budget import Budget
    from anyrerank.cache import MemoryCache
    from anyrerank.client import Reranker
    from anyrerank.errors import (
        APIConnectionError,
        APIResponseValidationError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        ConfigurationError,
        FallbackError,
        GuardrailRaisedError,
        InternalServerError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RerankError,
    )
    from anyrerank.functions import arerank, rerank
    from anyrerank.router import Router
    from anyrerank.schema import Attempt, Document, Meta, RerankResponse, RerankResult, Results
    from anyrerank.sqlite_cache import SQLiteCache

__version__ = "0.1.0"

__all__ = [
    "APIConnectionError",
    "APIResponseValidationError",
    "APITimeoutError",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "Budget",
    "BudgetExceededError",
    "ConfigurationError",
    "Document",
    "FallbackError",
    "GuardrailRaisedError",
    "InternalServerError",
    "MemoryCache",
    "Meta",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RerankError",
    "RerankResponse",
    "RerankResult",
    "Reranker",
    "Results",
    "Router",
    "SQLiteCache",
    "__version__",
    "arerank",
    "rerank",
    "using_attributes",
]

_HOMES = {
    "Budget": "budget",
    "MemoryCache": "cache",
    "Reranker": "client",
    "Router": "router",
    "SQLiteCache": "sqlite_cache",
    "arerank": "functions",
    "rerank": "functions",
    "using_attributes": "attributes",
} | dict.fromkeys(("Attempt", "Document", "Meta", "RerankResponse", "RerankResult", "Results"), "schema")


def __getattr__(name: str) -> _typing.Any:
    """Load a public name when it is first used, so that importing the package costs next to nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
