"""Rerank retrieved chunks through any provider, in the pipeline you already have.

`rerank` and `arerank` for one call, `Reranker` to keep. `anyrerank.langchain` and `anyrerank.llama_index` hold the
adapters for those frameworks, and import them only when they are imported themselves.
"""

from anyrerank.client import Reranker, arerank, rerank
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
