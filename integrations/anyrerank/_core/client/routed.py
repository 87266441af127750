"""One name of a router as a reranker."""

from __future__ import annotations

from collections.abc import Sequence

from anyrerank._core.client.base import BaseReranker
from anyrerank._core.engine import CONNECTION, Call, Deployment, Options
from anyrerank._core.http import Transport
from anyrerank._core.routing import Balancer, Group
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Answer


class RoutedModel(BaseReranker):
    """One name of a router, with the methods of a `Reranker`.

    Args:
        name: The name in the router.
        asked: The groups of the name and of each of its fallbacks, in order.
        balancer, options, transport: Those of the router.
    """

    def __init__(
        self, name: str, asked: Sequence[Group], balancer: Balancer, options: Options, transport: Transport
    ) -> None:
        self._asked = asked
        self._balancer = balancer
        self._options = options
        self._transport = transport
        self.model_group = name
        first = self._members()[0]
        self.provider, self.model = first.provider, first.model

    def __repr__(self) -> str:
        return f"RoutedModel({self.deployment!r})"

    @property
    def deployment(self) -> str:
        """The name in the router."""
        return self._asked[0].name

    def check(self) -> None:
        """Raise the first error if no deployment of the name can be asked. Sends nothing."""
        entries = self._asked[0].entries
        errors = [error for entry in entries if (error := entry.deployment.fault()) is not None]
        if len(errors) == len(entries):
            raise errors[0]

    def _members(self) -> Sequence[Deployment]:
        return [entry.deployment for group in self._asked for entry in group.entries]

    def _fixed(self) -> frozenset[str]:
        return CONNECTION

    def _choose(self, call: Call) -> Flow[tuple[Deployment, Answer]]:
        return self._balancer.choose(call, self._asked)
