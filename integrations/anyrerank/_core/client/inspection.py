"""Properties of rerankers and routers that the evaluation, batches and the gateway need and users do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyrerank._core.client.base import BaseReranker
from anyrerank._core.client.calls import add_documents, prepared
from anyrerank._core.client.routed import RoutedModel
from anyrerank._core.client.router import Router
from anyrerank._core.engine import Call, Deployment, Plan, planned, provider_options
from anyrerank._core.pricing import Budget
from anyrerank._core.routing import Entry, MemoryState
from anyrerank._core.types import Document, RerankResponse, Scale
from anyrerank.errors import RerankError

_OF_A_SCORE = ("rank_fields", "extra_body", "score_mode", "score_scale", "fuse", "batch_size", "allow_split", "dedupe")


def identity_of(reranker: BaseReranker) -> tuple[object, ...]:
    """Everything that a score depends on, except query and documents; without secrets."""
    options = reranker.options
    members = [member.identity(options) for member in reranker._members()]
    return (members, *(getattr(options, name) for name in _OF_A_SCORE))


def deployments_of(router: Router) -> list[tuple[str, Deployment]]:
    """Each name of a router with each of its deployments."""
    return [(group.name, entry.deployment) for group in router._groups for entry in group.entries]


def fallbacks_of(router: Router) -> dict[str, Sequence[str]]:
    """For each name of a router that has fallbacks, the names that are asked after it, in order."""
    return {name: chain for name, chain in router._chains.items() if chain}


def budgets_of(router: Router) -> dict[str, Budget]:
    """The budgets of the deployments of a router, by `model_id`; that of a wildcard is shared by its models."""
    return router._groups.budgets


def entries_of(router: Router) -> dict[str, tuple[Entry, ...]]:
    """The entries of a router by their names."""
    return {group.name: group.entries for group in router._groups}


def continue_routing(router: Router, before: Router) -> None:
    """Let a router continue with the rate limits, loads and cooldowns of the one that it replaces.

    This applies to deployments with the same id and the same model. A state that is shared with other processes needs
    no such step.
    """
    state, old = router._balancer.state, before._balancer.state
    if isinstance(state, MemoryState) and isinstance(old, MemoryState):
        known = {entry.id: entry.deployment.identity(before.options) for entry in _entries(before)}
        same = [each.id for each in _entries(router) if known.get(each.id) == each.deployment.identity(router.options)]
        state.succeed(old, same)


def _entries(router: Router) -> list[Entry]:
    return [entry for group in router._groups for entry in group.entries]


def deployment_names(reranker: BaseReranker) -> list[str]:
    """`provider/model` of each model that may be asked, in order."""
    return [member.name for member in reranker._members()]


def is_local(reranker: BaseReranker) -> bool:
    """Whether the model that is asked first runs on this machine."""
    return reranker._members()[0].kind.free


def supported_options(reranker: BaseReranker, given: Mapping[str, Any], provider: str) -> frozenset[str]:
    """The options in `given` that the deployments of a provider support."""
    kinds = {member.kind for member in reranker._members() if member.provider == provider}
    return frozenset(name for kind in kinds for name in provider_options(given, kind, drop_params=True))


def scales_of(reranker: BaseReranker) -> frozenset[Scale]:
    """The scales of the scores of all deployments that can be asked."""
    options = reranker.options
    return frozenset(member.scale_of_results(options) for member in reranker._members() if member.fault() is None)


def fallbacks_before(reranker: BaseReranker, response: RerankResponse) -> int:
    """How many names of a router were asked in vain before the one that answered; 0 without fallbacks."""
    answered = (response.model_id, f"{response.provider}/{response.model}")
    for number, group in enumerate(reranker._asked if isinstance(reranker, RoutedModel) else ()):
        if any((each.deployment.model_id, each.deployment.name) == answered for each in group.entries):
            return number
    return 0


def plans_of(
    reranker: BaseReranker, query: str, documents: Sequence[Document], overrides: Mapping[str, Any]
) -> list[tuple[Deployment, Plan | RerankError]]:
    """The requests that a call would send to each deployment, or the error that prevents it.

    Sends nothing, and does not run guardrails. A cache may block.

    Raises:
        RerankError: The call is wrong.
    """
    call = prepared(reranker, query, overrides)
    add_documents(reranker, call, documents)
    if call.error is not None:
        raise call.error
    return [(each, _plan(call, each)) for each in reranker._members()]


def _plan(call: Call, deployment: Deployment) -> Plan | RerankError:
    try:
        return planned(call, deployment)
    except RerankError as error:
        return error
