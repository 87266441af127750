"""`Target`: the deployments that a call may ask, with the options of the call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from anyrerank._core.client.attributes import attributes
from anyrerank._core.client.connections import KeepsConnections
from anyrerank._core.engine import Call, Deployment, Options, merged
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Answer
from anyrerank.errors import BadRequestError


class Target(KeepsConnections, ABC):
    """The deployments that a call may ask, and the options of calls to them."""

    provider: str
    """Prefix of the provider that is asked first."""
    model: str
    """The model without the prefix."""
    model_group: str | None = None
    """The name in the router, or `None` without a router."""
    _options: Options

    @property
    def deployment(self) -> str:
        """`provider/model`, or the name in a router."""
        return f"{self.provider}/{self.model}"

    @property
    def options(self) -> Options:
        """The default options of calls."""
        return self._options

    @property
    def accepts_images(self) -> bool:
        """Whether a document may be a mapping with an `image`, for every model that may be asked."""
        return all(member.accepts_images for member in self._members())

    @abstractmethod
    def _members(self) -> Sequence[Deployment]:
        """The deployments that may be asked, in order."""

    @abstractmethod
    def _fixed(self) -> frozenset[str]:
        """Names of options that a call cannot override."""

    @abstractmethod
    def _choose(self, call: Call) -> Flow[tuple[Deployment, Answer]]:
        """The answer to a call, and the deployment that answered."""

    def _overridden(self, overrides: Mapping[str, Any]) -> Options:
        """The options of a call, checked against every deployment that may be asked."""
        if overrides and (given := sorted(self._fixed() & overrides.keys())):
            raise BadRequestError(f"{', '.join(given)} cannot be set in a call: pass it to the constructor")
        around = attributes(self._options.metadata)
        options = merged(self._options, {**around, **overrides} if around else overrides)
        if overrides:
            for member in self._members():
                member.check_options(options)
        return options
