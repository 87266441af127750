"""The common base of `Reranker` and of the models of a `Router`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from typing_extensions import Unpack

from anyrerank._core.client.attributes import attributes
from anyrerank._core.client.calls import add_documents, adriven, driven, prepared, responded
from anyrerank._core.client.connections import KeepsConnections
from anyrerank._core.client.parity import same_parameters
from anyrerank._core.client.progress import Bar
from anyrerank._core.engine import (
    Call,
    CallKeywords,
    Deployment,
    Options,
    lists_options,
    merged,
)
from anyrerank._core.pricing import Price
from anyrerank._core.runtime import Flow, Gather, Scope, arun, run
from anyrerank._core.types import Answer, Document, RerankResponse
from anyrerank.errors import BadRequestError, RerankError


class BaseReranker(KeepsConnections, ABC):
    """Reranks documents with one model, or with one model name of a router."""

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

    @lists_options(Options)
    def rerank(self, query: str, documents: Sequence[Document], **overrides: Unpack[CallKeywords]) -> RerankResponse:
        """Rank `documents` by their relevance to `query`.

        Args:
            query: Must not be blank.
            documents: Strings, or mappings with a `text`. Without documents nothing is sent.
            {options}

        Raises:
            BadRequestError: The call is wrong. Nothing was sent, unless the error has a status.
            RerankError: Another error; `anyrerank.errors` lists the classes.
        """
        call = prepared(self, query, overrides)
        add_documents(self, call, documents)
        return driven(self, call, responded(self, call))

    @same_parameters(rerank)
    async def arerank(self, query: str, documents: Sequence[Document], **overrides: Any) -> RerankResponse:
        call = prepared(self, query, overrides)
        add_documents(self, call, documents)
        return await adriven(self, call, responded(self, call))

    @lists_options(Options)
    def rerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Unpack[CallKeywords],
    ) -> list[RerankResponse | RerankError]:
        """Rank documents for several queries, with at most `max_concurrency` concurrent requests.

        Args:
            queries: The queries.
            documents: A list of documents for each query.
            progress: Whether to show a progress bar (needs the extra `notebook`); by default only in notebooks.
            return_exceptions: Return the errors of failed queries, instead of raising the first one.
            {options}

        Returns:
            The responses, in the order of the queries.

        Raises:
            RerankError: As for `rerank`.
        """
        with Bar(len(queries), progress) as bar:
            flow = self._many(queries, documents, overrides, bar.advance, return_exceptions=return_exceptions)
            return run(flow, self._transport.send)

    @same_parameters(rerank_many)
    async def arerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Any,
    ) -> list[RerankResponse | RerankError]:
        with Bar(len(queries), progress) as bar:
            flow = self._many(queries, documents, overrides, bar.advance, return_exceptions=return_exceptions)
            return await arun(flow, self._transport.asend)

    def check(self) -> None:
        """Raise if a call cannot be sent, for example without a key or base URL. Sends nothing."""
        self._members()[0].connected()

    def price(self) -> Price | None:
        """The price of the model that is asked first, or `None` if unknown."""
        return self._members()[0].price()

    @abstractmethod
    def _members(self) -> Sequence[Deployment]:
        """The deployments that may be asked, in order."""

    @abstractmethod
    def _fixed(self) -> frozenset[str]:
        """Names of options that a call cannot override."""

    @abstractmethod
    def _choose(self, call: Call) -> Flow[tuple[Deployment, Answer]]:
        """The answer to a call, and the deployment that gave it."""

    def _overridden(self, overrides: Mapping[str, Any]) -> Options:
        """The options of a call, checked against every deployment that may be asked."""
        if overrides and (given := sorted(self._fixed() & overrides.keys())):
            raise BadRequestError(f"{', '.join(given)} cannot be set in a call: pass it to the constructor")
        around = attributes(self._options.metadata)
        options = merged(self._options, {**around, **overrides} if around else overrides)
        if overrides:
            for member in self._members():
                member.provider_options(options)
        return options

    def _many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        overrides: Mapping[str, Any],
        on_done: Callable[[], None],
        *,
        return_exceptions: bool,
    ) -> Flow[list[RerankResponse | RerankError]]:
        if isinstance(queries, str) or len(queries) != len(documents):
            raise BadRequestError("rerank_many needs a list of queries, and a list of documents for each of them")
        if not queries:
            return []
        limit = self._overridden(overrides).max_concurrency
        share = max(1, limit // len(queries))
        flows = [
            self._one_of_many(query, each, overrides, share, return_exceptions=return_exceptions)
            for query, each in zip(queries, documents, strict=True)
        ]
        answers: list[RerankResponse | RerankError] = yield Gather(flows, limit, on_done)
        return answers

    def _one_of_many(
        self,
        query: str,
        documents: Sequence[Document],
        overrides: Mapping[str, Any],
        concurrency: int,
        *,
        return_exceptions: bool,
    ) -> Flow[RerankResponse | RerankError]:
        """One call; its deadline is set when it starts."""
        try:
            call = prepared(self, query, overrides, concurrency=concurrency)
            add_documents(self, call, documents)
            response: RerankResponse = yield Scope(responded(self, call), call.deadline)
        except RerankError as error:
            if return_exceptions:
                return error
            raise
        return response
