"""Documents, requests, responses and usage: values that import nothing else of the package."""

from anyrerank._core.types.answer import Answer, Scale
from anyrerank._core.types.documents import Document
from anyrerank._core.types.public import public
from anyrerank._core.types.rendering import shortened
from anyrerank._core.types.request import RerankRequest, prompt_of
from anyrerank._core.types.response import Attempt, RerankResponse
from anyrerank._core.types.results import NO_SPANS, Ranking, RerankResult, Results, Spans
from anyrerank._core.types.surrogates import repaired, repaired_tree
from anyrerank._core.types.texts import BYTES_PER_TOKEN, text_of, texts_of, tokens_in, tokens_to_read
from anyrerank._core.types.usage import BilledUnits, Meta, Tokens, default_search_units, reported_tokens

__all__ = [
    "BYTES_PER_TOKEN",
    "NO_SPANS",
    "Answer",
    "Attempt",
    "BilledUnits",
    "Document",
    "Meta",
    "Ranking",
    "RerankRequest",
    "RerankResponse",
    "RerankResult",
    "Results",
    "Scale",
    "Spans",
    "Tokens",
    "default_search_units",
    "prompt_of",
    "public",
    "repaired",
    "repaired_tree",
    "reported_tokens",
    "shortened",
    "text_of",
    "texts_of",
    "tokens_in",
    "tokens_to_read",
]
