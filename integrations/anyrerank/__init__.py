"""Rerank retrieved chunks through any provider, in the pipeline you already have.

`rerank` and `arerank` for one call, `Reranker` to keep. `anyrerank.langchain` and `anyrerank.llama_index` hold the
adapters for those frameworks, and import them only when they are imported themselves.
"""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
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
    from anyrerank.schema import Attempt, Document, Meta, RerankResponse, RerankResult, Results

__version__ = "0.1.0"

__all__ = [
    "APIConnectionError",
    "APIResponseValidationError",
    "APITimeoutError",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ConfigurationError",
    "Document",
    "FallbackError",
    "GuardrailRaisedError",
    "InternalServerError",
    "Meta",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RerankError",
    "RerankResponse",
    "RerankResult",
    "Reranker",
    "Results",
    "__version__",
    "arerank",
    "rerank",
]

_HOMES = {"Reranker": "client", "arerank": "functions", "rerank": "functions"} | dict.fromkeys(
    ("Attempt", "Document", "Meta", "RerankResponse", "RerankResult", "Results"), "schema"
)


def __getattr__(name: str) -> _typing.Any:
    """Load a public name when it is first used, so that importing the package costs next to nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
