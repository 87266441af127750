"""The common base of `Reranker` and of the models of a `Router`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, overload

from typing_extensions import Unpack

from anyrerank._core.client.calls import add_documents, adriven, driven, prepared, responded
from anyrerank._core.client.parity import same_overloads, same_parameters
from anyrerank._core.client.progress import Bar
from anyrerank._core.client.target import Target
from anyrerank._core.engine import (
    CallKeywords,
    Options,
    all_text,
    blanks,
    checked_documents,
    checked_query,
    lists_options,
)
from anyrerank._core.pricing import Price
from anyrerank._core.runtime import Flow, Gather, Scope, arun, run
from anyrerank._core.types import Document, RerankResponse
from anyrerank.errors import BadRequestError, RerankError


class BaseReranker(Target):
    """Reranks documents with one model, or with one model name of a router."""

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

    @overload
    def rerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: Literal[False] = False,
        **overrides: Unpack[CallKeywords],
    ) -> list[RerankResponse]: ...

    @overload
    def rerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool,
        **overrides: Unpack[CallKeywords],
    ) -> list[RerankResponse | RerankError]: ...

    @lists_options(Options)
    def rerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Unpack[CallKeywords],
    ) -> list[RerankResponse] | list[RerankResponse | RerankError]:
        """Rank documents for several queries, with at most `max_concurrency` concurrent requests.

        Args:
            queries: The queries.
            documents: A list of documents for each query.
            progress: Whether to show a progress bar (needs the extra `notebook`); by default only in notebooks.
            return_exceptions: Return the errors of failed queries, instead of raising the first one. Without it,
                nothing is sent if a query or a document is wrong.
            {options}

        Returns:
            The responses, in the order of the queries; with `return_exceptions`, an error where a query failed.

        Raises:
            RerankError: As for `rerank`.
        """
        with Bar(len(queries) if _is_list(queries) else 0, progress) as bar:
            flow = self._many(queries, documents, overrides, bar.advance, return_exceptions=return_exceptions)
            return run(flow, self._transport.send)

    @overload
    async def arerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: Literal[False] = False,
        **overrides: Unpack[CallKeywords],
    ) -> list[RerankResponse]: ...

    @overload
    async def arerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool,
        **overrides: Unpack[CallKeywords],
    ) -> list[RerankResponse | RerankError]: ...

    @same_overloads(rerank_many)
    async def arerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Any,
    ) -> list[RerankResponse] | list[RerankResponse | RerankError]:
        with Bar(len(queries) if _is_list(queries) else 0, progress) as bar:
            flow = self._many(queries, documents, overrides, bar.advance, return_exceptions=return_exceptions)
            return await arun(flow, self._transport.asend)

    def check(self) -> None:
        """Raise if a call cannot be sent, for example without a key or base URL. Sends nothing."""
        self._members()[0].connected()

    def price(self) -> Price | None:
        """The price of the model that is asked first, or `None` if unknown."""
        return self._members()[0].price()

    def _many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        overrides: Mapping[str, Any],
        on_done: Callable[[], None],
        *,
        return_exceptions: bool,
    ) -> Flow[list[RerankResponse | RerankError]]:
        pairs = _pairs(queries, documents)
        if not pairs:
            return []
        options = self._overridden(overrides)
        if not return_exceptions:
            pairs = [self._checked(index, *pair, options) for index, pair in enumerate(pairs)]
        limit = options.max_concurrency
        share = max(1, limit // len(pairs))
        flows = [self._one_of_many(*pair, overrides, share, return_exceptions=return_exceptions) for pair in pairs]
        answers: list[RerankResponse | RerankError] = yield Gather(flows, limit, on_done)
        return answers

    def _checked(
        self, index: int, query: str, documents: Sequence[Document], options: Options
    ) -> tuple[str, Sequence[Document]]:
        """One query and its documents, checked before the first query is sent."""
        try:
            found = checked_documents(documents)
            if not all_text(found):
                blanks(found, options.rank_fields, images=self.accepts_images)
            return checked_query(query), found
        except BadRequestError as error:
            message = f"queries[{index}]: {error.message}; nothing was sent"
            raise BadRequestError(message, provider=self.provider, model=self.model) from None

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


def _pairs(queries: Sequence[str], documents: Sequence[Sequence[Document]]) -> list[tuple[str, Sequence[Document]]]:
    """Each query with its documents.

    Raises:
        BadRequestError: They are not two lists of the same length.
    """
    if _is_list(queries) and _is_list(documents):
        each, lists = list(queries), list(documents)
        if len(each) == len(lists):
            return list(zip(each, lists, strict=True))
    raise BadRequestError("rerank_many needs a list of queries, and a list of documents for each of them")


def _is_list(value: object) -> bool:
    sized = hasattr(value, "__len__") and hasattr(value, "__iter__")
    return sized and not isinstance(value, str | bytes | Mapping | AbstractSet)
