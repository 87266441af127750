"""`ask`: the scores of one deployment, with cache, batches, budgets and retries around the flow of the provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from anyrerank._core.engine.batching import batched, part_of
from anyrerank._core.engine.call import Call
from anyrerank._core.engine.candidates import identity
from anyrerank._core.engine.deployment import Deployment
from anyrerank._core.engine.options import Options
from anyrerank._core.engine.pacing import paced
from anyrerank._core.engine.retry import RetryPolicy, recorded, retried
from anyrerank._core.engine.score_cache import cached_listwise, cached_pointwise, has_all, missing, seed_of
from anyrerank._core.engine.truncation import LOCAL_OPTION, truncated
from anyrerank._core.limits import Throttle
from anyrerank._core.pricing import Payer, charged, estimate_cost, expected_units, reserved, total_cost
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Answer, Document, RerankRequest
from anyrerank.cache import Cache
from anyrerank.errors import BadRequestError, RerankError
from anyrerank.providers import Provider


def ask(call: Call, deployment: Deployment, query: str, policy: RetryPolicy) -> Flow[Answer]:
    """The scores of one model for the candidates of a call, in as many requests as needed.

    Args:
        call: The call, to which the attempts are added.
        deployment: The deployment to ask.
        query: The query that the guardrails returned.
        policy: Retries of each request.

    Raises:
        RerankError: As described at `anyrerank.rerank`.
    """
    task = _Ask(call, deployment, deployment.connected(), policy)
    request = task.request(query)
    cache = call.options.cache
    if cache is None:
        return task.send(request, call.candidates.index_of)
    return task.cached(request, cache)


def is_cached(call: Call, deployment: Deployment, query: str) -> Flow[bool]:
    """Whether `ask` would send nothing, because the cache has all scores."""
    cache = call.options.cache
    if cache is None or deployment.fault() is not None:
        return False
    task = _Ask(call, deployment, deployment.connected(), RetryPolicy())
    try:
        texts, seed = _cache_key(task.request(query), task.provider, call.options)
    except RerankError:
        return False
    return (yield from has_all(texts, cache=cache, seed=seed, together=task.provider.ranks_together))


@dataclass(frozen=True, slots=True)
class _Ask:
    """One deployment that is asked for the scores of a call."""

    call: Call
    deployment: Deployment
    provider: Provider
    policy: RetryPolicy

    def request(self, query: str) -> RerankRequest:
        """All candidates as one request.

        Raises:
            BadRequestError: The provider cannot take it.
        """
        deployment, options, candidates = self.deployment, self.call.options, self.call.candidates
        deployment.check_score_mode(options)
        fused = deployment.fuse(options) is not None
        given, documents = deployment.provider_options(options), candidates.documents
        self.provider.check_options(given)
        if LOCAL_OPTION in given and not self.provider.cuts_documents(given):
            documents = truncated(documents, options.rank_fields, given.pop(LOCAL_OPTION))
        request = RerankRequest(
            query=query,
            documents=documents,
            top_n=None if options.top_n is None or fused else min(options.top_n, len(candidates.documents)),
            rank_fields=options.rank_fields,
            options=given,
            extra_body=deployment.extra_body(options),
        )
        if unsupported := self.provider.unsupported_document(request):
            index, reason = unsupported
            raise self.provider.bad_request(f"documents[{candidates.index_of(index)}] {reason}")
        return request

    def cached(self, request: RerankRequest, cache: Cache) -> Flow[Answer]:
        """The answer, with scores from the cache as far as possible."""
        call, provider, before = self.call, self.provider, len(self.call.attempts)

        def send(indexes: Sequence[int]) -> Flow[tuple[Answer, float | None]]:
            started = len(call.attempts)
            part = replace(request, documents=[request.documents[index] for index in indexes], top_n=None)
            answer = yield from self.send(part, lambda index: call.candidates.index_of(indexes[index]))
            return answer, total_cost(call.attempts[started:])

        texts, seed = _cache_key(request, provider, call.options)
        answer, saved = yield from (cached_listwise if provider.ranks_together else cached_pointwise)(
            texts, send, cache=cache, seed=seed
        )
        call.saved = saved.at_most(self._avoidable(request, total_cost(call.attempts[before:])))
        return answer

    def _avoidable(self, request: RerankRequest, paid: float | None) -> float | None:
        """US dollars by which a call without a cache would cost more than was `paid`, if each search has a price."""
        price, count = self.deployment.price(), len(request.documents)
        if paid is None or price is None or not price.per_query or price.per_token:
            return None
        size = self.call.options.batch_size or self.provider.max_documents(request.options) or count
        return max(0.0, self.deployment.estimate(request, self.provider.batch_starts(request, size)) - paid)

    def send(self, request: RerankRequest, index_of: Callable[[int], int]) -> Flow[Answer]:
        """The answer of the provider to `request`, split into batches if needed.

        Args:
            request: The documents to send.
            index_of: Maps their indexes to those of the call.
        """
        call, options, provider = self.call, self.call.options, self.provider
        count = len(request.documents)
        size = options.batch_size
        if size is None:
            size = yield from self.deployment.in_slot(provider.fetch_max_documents(count, request.options))
        starts = provider.batch_starts(request, size or count)
        may_split = _may_split(provider, options, starts, count)
        flow = batched(
            self._send_one if len(starts) == 1 else self._send_one_of_several,
            request,
            starts=starts,
            limit=call.concurrency,
            index_of=index_of,
            may_split=may_split,
        )
        if budgets := _budgets(options, self.deployment):
            estimate = self.deployment.estimate
            owners = dict.fromkeys(owner for budget, spender in budgets if (owner := budget.owner_of(spender)))
            spending = yield from reserved(budgets, estimate(request, starts, tuple(owners)))
            flow = charged(flow, spending.settle, call.attempts, call.in_flight, estimate)
        return (yield from flow)

    def _send_one(self, request: RerankRequest) -> Flow[Answer]:
        """The answer to one request, with retries."""
        return retried(lambda: self._attempt(request), self.policy)

    def _attempt(self, request: RerankRequest) -> Flow[Answer]:
        """The answer to a request that is sent once. It waits for a slot first, then for the rate limits."""
        flow = recorded(self.provider.flow(request), partial(self._record, request))
        if limits := _limits(self.call.options, self.deployment):
            flow = paced(flow, limits, request, self.call.deadline)
        return self.deployment.in_slot(flow)

    def _send_one_of_several(self, request: RerankRequest) -> Flow[Answer]:
        """`_send_one`, for a request that the failure of another one may cut off."""
        return _in_flight(self._send_one(request), request, self.call)

    def _record(self, request: RerankRequest, outcome: Answer | RerankError, started: float, seconds: float) -> None:
        """Add an attempt to the call, unless nothing was sent; an error of the transport gets the deployment's name."""
        if isinstance(outcome, RerankError) and outcome.provider is None:
            outcome.provider, outcome.model = self.deployment.provider, self.deployment.model
        if isinstance(outcome, BadRequestError) and outcome.status_code is None:
            return
        attempt = self.deployment.attempt(outcome, len(request.documents), started=started, seconds=seconds)
        self.call.attempts.append(attempt)


def _may_split(provider: Provider, options: Options, starts: Sequence[int], count: int) -> bool:
    """Whether the documents may be ranked in several requests.

    Raises:
        BadRequestError: They may not, and must be.
    """
    may_split = options.allow_split or not provider.ranks_together
    if len(starts) > 1 and not may_split:
        raise provider.bad_request(
            f"{provider.deployment} is listwise, and its limit is less than {count} documents per request: pass "
            "fewer documents, or pass allow_split=True if the scores may depend on the split"
        )
    return may_split


def _cache_key(request: RerankRequest, provider: Provider, options: Options) -> tuple[list[str], bytes]:
    """The key of a request in the score cache: the texts of its documents, and a digest of everything else."""
    texts = [identity(each, request.rank_fields, whole=provider.sends_mappings) for each in request.documents]
    return texts, seed_of(request, *provider.identity, options.batch_size, options.allow_split)


def _in_flight(flow: Flow[Answer], request: RerankRequest, call: Call) -> Flow[Answer]:
    """Run `flow`; its request is in `call.in_flight` until it succeeds or fails, and stays there if it is cut off."""
    key = object()
    call.in_flight[key] = request
    try:
        answer = yield from flow
    except Exception:
        del call.in_flight[key]
        raise
    del call.in_flight[key]
    return answer


def _budgets(options: Options, deployment: Deployment) -> list[Payer]:
    """The budgets of a call and of the deployment, each with the user that it is for."""
    own = deployment.own
    of_own = [] if own is None else own.model_copy(update={"user": options.user}).budgets
    of_deployment = [] if deployment.budget is None else [(deployment.budget, None)]
    return [*options.budgets, *of_own, *of_deployment]


def _limits(options: Options, deployment: Deployment) -> list[Throttle]:
    """The limits of a call and of the deployment; one that is both counts once."""
    found = [options.limit, None if deployment.own is None else deployment.own.limit]
    return list(dict.fromkeys(each for each in found if each is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The requests that a call would send to a deployment.

    Attributes:
        parts: The requests after splitting.
        documents: Number of documents in them; the others are cached or duplicates.
        units: Search units, estimated from the number and, where that counts, the length of the documents.
        dollars: US dollars, or `None` if the price is not known.
    """

    parts: Sequence[RerankRequest] = field(default=(), repr=False)
    documents: int
    units: int
    dollars: float | None

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.parts)


def planned(call: Call, deployment: Deployment) -> Plan:
    """The requests that `ask` would send. Sends nothing; a cache may block.

    The limit of documents per request is unknown for a server that reports it itself.

    Raises:
        RerankError: The deployment cannot be asked.
    """
    provider, options = deployment.connected(), call.options
    request = _Ask(call, deployment, provider, RetryPolicy()).request(call.query)
    if options.cache is not None:
        texts, seed = _cache_key(request, provider, options)
        indexes = missing(texts, cache=options.cache, seed=seed, together=provider.ranks_together)
        request = replace(request, documents=[request.documents[index] for index in indexes], top_n=None)
    count = len(request.documents)
    if not count:
        return Plan(documents=0, units=0, dollars=0.0)
    starts = provider.batch_starts(request, options.batch_size or provider.max_documents(request.options) or count)
    _may_split(provider, options, starts, count)
    ends = (*starts[1:], count)
    read, unit_tokens = _as_read(request, provider), provider.unit_tokens
    return Plan(
        parts=[part_of(request, start, end) for start, end in zip(starts, ends, strict=True)],
        documents=count,
        units=expected_units(read, request.rank_fields, starts, unit_tokens),
        dollars=estimate_cost(
            deployment.price(), request.prompt, read, request.rank_fields, starts=starts, unit_tokens=unit_tokens
        ),
    )


def _as_read(request: RerankRequest, provider: Provider) -> Sequence[Document]:
    """The documents as the model reads them: cut where the provider does that, as far as it is known."""
    tokens = request.options.get(LOCAL_OPTION, provider.tokens_per_document)
    return request.documents if tokens is None else truncated(request.documents, request.rank_fields, tokens)
