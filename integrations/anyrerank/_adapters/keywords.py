"""The fields as keyword arguments, for type checkers and editors; `RerankFields` describes each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anyrerank._core.client import RerankerKeywords

if TYPE_CHECKING:
    from anyrerank._core.client import BaseReranker, Router
    from anyrerank.providers import Provider


class AdapterKeywords(RerankerKeywords, total=False):
    """Keyword arguments of the adapters for all frameworks."""

    model: str | None
    custom_llm_provider: str | type[Provider] | None
    credentials: Mapping[str, Any] | None
    keep_retrieval_score: bool
    model_key: str | None
    reranker: BaseReranker | Router | None
