"""Rerank retrieved chunks with any provider.

Use `rerank` and `arerank` for one call, `Reranker` for many calls, and `Router` for several deployments. The adapters
are in `anyrerank.langchain` and `anyrerank.llama_index`; only they import a framework.
"""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from anyrerank._core.client import DeploymentStatus, Reranker, Router, arerank, rerank, using_attributes
    from anyrerank._core.limits import Limit
    from anyrerank._core.pricing import Budget
    from anyrerank._core.types import (
        Attempt,
        BilledUnits,
        Document,
        Meta,
        RerankResponse,
        RerankResult,
        Results,
        Tokens,
    )
    from anyrerank.cache import MemoryCache, RedisCache, SQLiteCache
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
        InvalidArgumentError,
        LimitReachedError,
        MissingExtraError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RerankError,
        StateUnavailableError,
        UnknownPriceError,
    )

__version__ = "0.1.0"

__all__ = [
    "APIConnectionError",
    "APIResponseValidationError",
    "APITimeoutError",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BilledUnits",
    "Budget",
    "BudgetExceededError",
    "ConfigurationError",
    "DeploymentStatus",
    "Document",
    "FallbackError",
    "GuardrailRaisedError",
    "InternalServerError",
    "InvalidArgumentError",
    "Limit",
    "LimitReachedError",
    "MemoryCache",
    "Meta",
    "MissingExtraError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedisCache",
    "RerankError",
    "RerankResponse",
    "RerankResult",
    "Reranker",
    "Results",
    "Router",
    "SQLiteCache",
    "StateUnavailableError",
    "Tokens",
    "UnknownPriceError",
    "__version__",
    "arerank",
    "rerank",
    "using_attributes",
]

_HOMES = {
    "Budget": "_core.pricing",
    "DeploymentStatus": "_core.client",
    "Limit": "_core.limits",
    "MemoryCache": "cache",
    "RedisCache": "cache",
    "Reranker": "_core.client",
    "Router": "_core.client",
    "SQLiteCache": "cache",
    "arerank": "_core.client",
    "rerank": "_core.client",
    "using_attributes": "_core.client",
} | dict.fromkeys(
    ("Attempt", "BilledUnits", "Document", "Meta", "RerankResponse", "RerankResult", "Results", "Tokens"),
    "_core.types",
)


def __getattr__(name: str) -> _typing.Any:
    """Load a public name when it is first used, so that `import anyrerank` is fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
