"""The fields as keyword arguments, for type checkers and editors; `RerankFields` says what each one means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anyrerank._core.client import RerankerKeywords

if TYPE_CHECKING:
    from anyrerank._core.client import BaseReranker, Router
    from anyrerank.providers import Provider


class AdapterKeywords(RerankerKeywords, total=False):
    """What the adapters of all frameworks take."""

    model: str | None
    custom_llm_provider: str | type[Provider] | None
    credentials: Mapping[str, Any] | None
    keep_retrieval_score: bool
    reranker: BaseReranker | Router | None
