"""What a `Reranker` and a model of a `Router` have in common: one call, in both colours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from typing_extensions import Self

from anyrerank._core.client.attributes import attributes
from anyrerank._core.client.progress import Bar
from anyrerank._core.engine import (
    Call,
    Candidates,
    Deployment,
    Fuse,
    Options,
    RetryPolicy,
    blanks,
    candidates,
    checked_documents,
    checked_query,
    identity,
    options_of,
    order,
)
from anyrerank._core.http import Transport
from anyrerank._core.pricing import Price
from anyrerank._core.routing import cannot_take
from anyrerank._core.runtime import Flow, Gather, arun, run
from anyrerank._core.types import Answer, Document, RerankResponse, Results
from anyrerank.errors import BadRequestError, BudgetExceededError, GuardrailRaisedError, RerankError
from anyrerank.hooks import is_listened_to, tell

P = ParamSpec("P")
R = TypeVar("R")


def same_parameters(
    sync: Callable[P, R],
) -> Callable[[Callable[..., Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Give an asynchronous function the signature of `sync`, for readers, checkers and `inspect` alike."""

    def decorate(function: Callable[..., Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        return wraps(sync, assigned=("__doc__", "__annotations__"))(function)

    return decorate


class KeepsConnections:
    """A context manager, in both colours, around connections that stay open between calls."""

    _transport: Transport

    def close(self) -> None:
        """Close what synchronous calls opened; the next call opens it again."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close what calls on the running event loop opened, and what synchronous ones did."""
        await self._transport.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class BaseReranker(KeepsConnections, ABC):
    """Calls in both colours; subclasses say what is asked.

    Safe for threads, usable from several event loops one after another and at once. The synchronous methods start no
    event loop, so they work inside a running one (Jupyter). A context manager in both colours.
    """

    provider: str
    """Prefix of what is asked first."""
    model: str
    """Model without the prefix."""
    _model_group: str | None = None
    _made_as = "Reranker"
    _options: Options

    @property
    def deployment(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    @property
    def pipeline_fuse(self) -> Fuse | None:
        """What `fuse` should be where documents come from a retriever, best first: its own, or who answers decides."""
        return self._options.fuse or "auto"

    @property
    def options(self) -> Options:
        """What it does where a call does not say otherwise."""
        return self._options

    @property
    def accepts_images(self) -> bool:
        """Whether a document may be a mapping with an `image`."""
        return self._members()[0].accepts_images

    def rerank(self, query: str, documents: Sequence[Document], **overrides: Any) -> RerankResponse:
        """Rank `documents` by how well each answers `query`.

        Args:
            query: Not blank.
            documents: Strings, or mappings with a `text`. An empty list gives an empty response and no request.
            overrides: Any option of `Reranker` for this call alone, save for the connection.

        Raises:
            BadRequestError: The call is wrong; nothing was sent, unless the error has a status.
            RerankError: What the provider or the network did, as one of the classes in `anyrerank.errors`.
        """
        return run(self._respond(query, documents, overrides), self._transport.send)

    @same_parameters(rerank)
    async def arerank(self, query: str, documents: Sequence[Document], **overrides: Any) -> RerankResponse:
        return await arun(self._respond(query, documents, overrides), self._transport.asend)

    def rerank_many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        *,
        progress: bool | None = None,
        return_exceptions: bool = False,
        **overrides: Any,
    ) -> list[RerankResponse | RerankError]:
        """Rank many lists, at most `max_concurrency` requests at a time.

        Args:
            queries: One for each list of documents.
            documents: The documents of each query.
            progress: Show a bar (needs tqdm, in the extra `notebook`); by default only in a notebook that has it.
            return_exceptions: Put a failed query's error into the list, instead of raising the first one.
            overrides: Any option of `Reranker` for these calls alone, save for the connection.

        Returns:
            The responses in the order of the queries.
        """
        with Bar(len(queries), progress) as bar:
            return run(self._many(queries, documents, bar, return_exceptions, overrides), self._transport.send)

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
            flow = self._many(queries, documents, bar, return_exceptions, overrides)
            return await arun(flow, self._transport.asend)

    def check(self) -> None:
        """Raise what keeps a call from being sent: a missing key, a missing or malformed base URL. Sends nothing."""
        self._members()[0].connected()

    def price(self) -> Price | None:
        """The price of what is asked first, or `None` when it is not known."""
        return self._members()[0].price()

    def identity(self) -> tuple[object, ...]:
        """All that a score depends on besides query and documents; nothing in it gets in anywhere."""
        options = self._options
        members = [member.identity(options) for member in self._members()]
        return (members, *(getattr(options, name) for name in _OF_A_SCORE))

    @property
    def runs_here(self) -> bool:
        """Whether what is asked first runs on this machine."""
        return self._members()[0].kind.free

    @abstractmethod
    def _members(self) -> Sequence[Deployment]:
        """All that may be asked, what is asked first in front."""

    @abstractmethod
    def _fixed(self) -> frozenset[str]:
        """Names that a call cannot override."""

    @abstractmethod
    def _chosen(self, call: Call, kept: Candidates) -> Flow[tuple[Deployment, Answer]]:
        """The scores of the documents of a call, and who gave them."""

    def _policy(self, options: Options) -> RetryPolicy:
        """How often to try again, and by which clock."""
        return RetryPolicy(max_retries=options.max_retries)

    def _many(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        bar: Bar,
        return_exceptions: bool,
        overrides: Mapping[str, Any],
    ) -> Flow[list[RerankResponse | RerankError]]:
        if isinstance(queries, str) or len(queries) != len(documents):
            raise BadRequestError("rerank_many takes a list of queries and as many lists of documents")
        limit = self._overridden(overrides).max_concurrency
        share = max(1, limit // max(1, len(queries)))
        if not queries:
            return []
        flows = [self._respond(query, each, overrides, share) for query, each in zip(queries, documents, strict=True)]
        each = [_caught(flow) for flow in flows] if return_exceptions else flows
        answers: list[RerankResponse | RerankError] = yield Gather(each, limit, bar.advance)
        return answers

    def _respond(
        self,
        query: str,
        documents: Sequence[Document],
        overrides: Mapping[str, Any],
        concurrency: int | None = None,
    ) -> Flow[RerankResponse]:
        """One call, from the caller's arguments to the response; `concurrency` overrides `max_concurrency`."""
        options = self._overridden(overrides)
        policy = self._policy(options)
        if overrides:
            for member in self._members():
                member.own_extra(options)
        call = Call(
            provider=self.provider,
            model=self.model,
            model_group=self._model_group,
            options=options,
            concurrency=concurrency or options.max_concurrency,
            policy=policy,
            began=policy.clock(),
            started=policy.wall(),
        )
        response, failure = None, None
        try:
            response = yield from self._answered(call, query, documents)
        except BaseException as error:
            failure = error
            if isinstance(error, RerankError):
                call.complete(error)
            raise
        finally:
            if is_listened_to(options.hooks):
                tell(call.event(response, failure), options.hooks)
        return response

    def _answered(self, call: Call, query: str, documents: Sequence[Document]) -> Flow[RerankResponse]:
        options = call.options
        call.query = yield from call.guarded(checked_query(query), options.guardrails)
        call.documents = checked_documents(documents)
        if not call.documents:
            return call.response(self.provider, self.model, Answer(scores=()), Results())
        images = all(member.accepts_images for member in self._members())
        blank = blanks(call.documents, options.rank_fields, images=images)
        whole = any(member.kind.ranks_mappings for member in self._members())
        key = partial(identity, rank_fields=options.rank_fields, whole=whole) if options.dedupe else None
        kept = candidates(call.documents, blank, key=key)
        try:
            member, answer = yield from self._chosen(call, kept)
        except RerankError as error:
            ours = cannot_take(error) or isinstance(error, GuardrailRaisedError | BudgetExceededError)
            if options.on_error == "raise" or ours:
                raise
            return call.degraded(error)
        ordered = order(
            kept.spread(answer.scores),
            scale=member.scale(options),
            score_mode=options.score_mode,
            threshold=options.score_threshold,
            fuse=member.fuse(options),
        )
        ranked = call.results(ordered, () if options.score_threshold is not None else blank)
        return call.response(member.provider, member.model, answer, ranked, member.model_id)

    def _overridden(self, overrides: Mapping[str, Any]) -> Options:
        """The options of a call."""
        if overrides and (given := sorted(self._fixed() & overrides.keys())):
            raise BadRequestError(f"{', '.join(given)}: set when a {self._made_as} is made, not in a call")
        around = attributes(self._options.metadata)
        return options_of({**around, **overrides} if around else overrides, self._options)


_OF_A_SCORE = ("rank_fields", "extra_body", "score_mode", "fuse", "batch_size", "allow_split", "dedupe")


def _caught(flow: Flow[RerankResponse]) -> Flow[RerankResponse | RerankError]:
    try:
        return (yield from flow)
    except RerankError as error:
        return error
