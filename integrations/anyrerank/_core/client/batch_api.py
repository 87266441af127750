"""A reranker whose requests are answered by another sender: a vendor's batch API."""

from __future__ import annotations

from collections.abc import Sequence

from anyrerank._core.client.base import BaseReranker
from anyrerank._core.engine import CONNECTION, Call, Deployment, RetryPolicy, ask
from anyrerank._core.runtime import Flow, Scope, Sender
from anyrerank._core.types import Answer
from anyrerank.errors import BadRequestError


class BatchApiReranker(BaseReranker):
    """The only model of a reranker, with its options and hooks, and with another sender and lower prices.

    Args:
        reranker: A reranker with one model.
        sender: Answers its requests, each of which is sent once.
        discount: Discount on its price, a fraction from 0 to 1.

    Raises:
        BadRequestError: The reranker may ask several models, or does something that needs an answer at once.
        RerankError: The model cannot be asked, for example without a key.
    """

    def __init__(self, reranker: BaseReranker, sender: Sender, discount: float) -> None:
        self.original = _only(reranker)
        self.provider, self.model, self.model_group = reranker.provider, reranker.model, reranker.model_group
        self._options, self._transport = reranker._options, reranker._transport
        self._deployment = self.original.with_sender(sender, discount)

    @property
    def deployment(self) -> str:
        """`provider/model`."""
        return self._deployment.name

    def _members(self) -> Sequence[Deployment]:
        return (self._deployment,)

    def _fixed(self) -> frozenset[str]:
        return CONNECTION

    def _choose(self, call: Call) -> Flow[tuple[Deployment, Answer]]:
        flow = ask(call, self._deployment, call.query, RetryPolicy(max_retries=0))
        answer: Answer = yield Scope(flow, sender=self._deployment.sender)
        return self._deployment, answer


def _only(reranker: BaseReranker) -> Deployment:
    members = reranker._members()
    if len(members) > 1:
        names = ", ".join(dict.fromkeys(member.name for member in members))
        raise BadRequestError(f"a batch API takes one model, not several deployments or fallbacks: {names}")
    (member,) = members
    member.connected()
    options = reranker.options
    of_member = options if member.own is None else member.own
    there = {
        "a cache": options.cache is not None,
        "guardrails": bool(options.guardrails or of_member.guardrails),
        "budgets of its own": bool(options.budgets or of_member.budgets or member.budget),
    }
    if refused := " or ".join(name for name, is_there in there.items() if is_there):
        raise BadRequestError(
            f"a reranker with {refused} cannot be asked through a batch API; budget= of the run works"
        )
    return member
