"""A reranker with other default options, for many calls that need the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyrerank._core.client.base import BaseReranker
from anyrerank._core.engine import Call, Deployment
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Answer


class Configured(BaseReranker):
    """What another reranker asks, with options that are merged once and not in each call.

    Args:
        reranker: The other one.
        overrides: As for its `rerank`.

    Raises:
        BadRequestError: An option is invalid.
    """

    def __init__(self, reranker: BaseReranker, overrides: Mapping[str, Any]) -> None:
        self._reranker = reranker
        self._options = reranker._overridden(overrides)
        self._transport = reranker._transport
        self.provider, self.model, self.model_group = reranker.provider, reranker.model, reranker.model_group

    @property
    def deployment(self) -> str:
        """That of the other one."""
        return self._reranker.deployment

    def _members(self) -> Sequence[Deployment]:
        return self._reranker._members()

    def _fixed(self) -> frozenset[str]:
        return self._reranker._fixed()

    def _choose(self, call: Call) -> Flow[tuple[Deployment, Answer]]:
        return self._reranker._choose(call)
