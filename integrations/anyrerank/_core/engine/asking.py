"""Asking one deployment: cache, batches, budgets and retries around the provider's own flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from anyrerank._core.engine.batching import batched
from anyrerank._core.engine.call import Call
from anyrerank._core.engine.deployment import Deployment
from anyrerank._core.engine.documents import identity
from anyrerank._core.engine.options import Options
from anyrerank._core.engine.ranking import check_score_mode
from anyrerank._core.engine.retry import RetryPolicy, retried
from anyrerank._core.engine.score_cache import callwise, pairwise, seed_of
from anyrerank._core.pricing import Budget, Spending, charged, total
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Answer, RerankRequest
from anyrerank.cache import Cache


def ask(call: Call, deployment: Deployment, query: str, policy: RetryPolicy) -> Flow[Answer]:
    """The scores of one model for the candidates of a call, in however many requests they need.

    Args:
        call: What is asked; it records the attempts.
        deployment: Who is asked.
        query: As the guardrails left it.
        policy: Of each request.

    Raises:
        RerankError: As documented at `anyrerank.rerank`.
    """
    asking = _Asking(call, deployment, policy)
    request = asking.request(query)
    cache = call.options.cache
    if cache is None:
        return asking.send(request, call.candidates.index_of)
    return asking.cached(request, cache)


@dataclass(frozen=True, slots=True)
class _Asking:
    call: Call
    deployment: Deployment
    policy: RetryPolicy

    def request(self, query: str) -> RerankRequest:
        """All candidates as one request, checked.

        Raises:
            BadRequestError: This provider cannot take it.
        """
        deployment, options, candidates = self.deployment, self.call.options, self.call.candidates
        provider, extra = deployment.connected(), deployment.provider_options(options)
        check_score_mode(options.score_mode, provider.score_scale(extra), provider.deployment)
        fused = deployment.fuse(options) is not None
        request = RerankRequest(
            query=query,
            documents=candidates.documents,
            top_n=None if options.top_n is None or fused else min(options.top_n, len(candidates.documents)),
            rank_fields=options.rank_fields,
            options=extra,
            extra_body=deployment.extra_body(options),
        )
        if unsupported := provider.unsupported_document(request):
            index, reason = unsupported
            raise provider.bad_request(f"documents[{candidates.index_of(index)}] {reason}")
        return request

    def cached(self, request: RerankRequest, cache: Cache) -> Flow[Answer]:
        """The answer, as far as possible from the cache."""
        call, provider, options = self.call, self.deployment.connected(), self.call.options

        def send(indexes: Sequence[int]) -> Flow[tuple[Answer, float | None]]:
            before = len(call.attempts)
            part = replace(request, documents=[request.documents[index] for index in indexes], top_n=None)
            answer = yield from self.send(part, lambda index: call.candidates.index_of(indexes[index]))
            return answer, total(call.attempts[before:])

        answer, call.saved = yield from (callwise if provider.ranks_together else pairwise)(
            [identity(each, request.rank_fields, whole=provider.sends_mappings) for each in request.documents],
            send,
            cache=cache,
            seed=seed_of(request, *provider.identity, options.batch_size, options.allow_split),
        )
        return answer

    def send(self, request: RerankRequest, index_of: Callable[[int], int]) -> Flow[Answer]:
        """The provider's answer to `request`, split into batches where needed.

        Args:
            request: All documents that are sent.
            index_of: From an index in them to the caller's.
        """
        call, options = self.call, self.call.options
        provider, count = self.deployment.connected(), len(request.documents)
        size = options.batch_size or (yield from provider.fetch_max_documents(count, request.options))
        starts = provider.batch_starts(request, size or count)
        may_split = options.allow_split or not provider.ranks_together
        if len(starts) > 1 and not may_split:
            raise provider.bad_request(
                f"{provider.deployment} ranks all documents of a call together, and {count} do not fit into one "
                "request: send fewer, or pass allow_split=True and accept scores that depend on the split"
            )
        flow = batched(
            self._request_sender(several=len(starts) > 1),
            request,
            starts=starts,
            limit=call.concurrency,
            index_of=index_of,
            may_split=may_split,
        )
        if not (budgets := _budgets(options, self.deployment)):
            return (yield from flow)
        estimate = self.deployment.estimate
        spending = Spending.of(budgets, estimate(request, starts))
        return (yield from charged(flow, spending.settle, call.attempts, call.in_flight, estimate))

    def _request_sender(self, *, several: bool) -> Callable[[RerankRequest], Flow[Answer]]:
        def send(part: RerankRequest) -> Flow[Answer]:
            flow = retried(
                lambda: provider.flow(part),
                self.policy,
                deployment=provider.deployment,
                model_id=deployment.model_id,
                attempts=call.attempts,
                price=lambda answer: deployment.spent(answer, len(part.documents)),
            )
            return _recorded(flow, part, call) if several else flow

        call, deployment = self.call, self.deployment
        provider = deployment.connected()
        return send


def _recorded(flow: Flow[Answer], request: RerankRequest, call: Call) -> Flow[Answer]:
    """`flow`, whose request counts as in flight until it answers or fails by itself."""
    key = object()
    call.in_flight[key] = request
    try:
        answer = yield from flow
    except Exception:
        del call.in_flight[key]
        raise
    del call.in_flight[key]
    return answer


def _budgets(options: Options, deployment: Deployment) -> list[tuple[Budget, str | None]]:
    """The budgets of a call and of the deployment that is asked, and whose they are."""
    own = deployment.own
    of_own = [] if own is None else own.model_copy(update={"user": options.user}).budgets
    of_deployment = [] if deployment.budget is None else [(deployment.budget, None)]
    return [*options.budgets, *of_own, *of_deployment]
