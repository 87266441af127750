"""What is allowed in the configuration of a gateway, and is probably a mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from anyrerank._core.client import Router, deployments_of, fallbacks_of
from anyrerank._core.engine import Deployment
from anyrerank.errors import RerankError, UnknownPriceError
from anyrerank.gateway.advice import for_operator
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.providers import RerankRequest

_LENGTH_OF_A_KEY = 20
_SET_A_PRICE = "set input_cost_per_query or input_cost_per_token in litellm_params (0 if it is free)"


def short_master_key(settings: GatewaySettings) -> str | None:
    """A line about a master key that may be guessed; `None` if it is long enough, or there is none."""
    if settings.master_key is None or len(settings.master_key.get_secret_value()) >= _LENGTH_OF_A_KEY:
        return None
    return (
        f"the master key has fewer than {_LENGTH_OF_A_KEY} characters and may be guessed: set one such as "
        "sk-$(openssl rand -hex 24)"
    )


def weaknesses_of(router: Router) -> list[str]:
    """A line for each deployment that cannot be called, such as one without a key, and for each missing price."""
    return [*_uncallable(router), *missing_prices(router)]


def missing_prices(router: Router) -> Iterator[str]:
    """A line for each deployment without a known price, if a budget of the file needs it, or if it is a fallback."""
    options = router.options
    needing = {"max_budget": options.shared_budgets, "max_end_user_budget": options.user_budget}
    names = [name for name, budget in needing.items() if budget]
    fallbacks = {each for chain in fallbacks_of(router).values() for each in chain}
    for name, deployment in _unpriced(router):
        what = f"{name} ({deployment.name}) has no known price"
        if names:
            refused = "calls" if "max_budget" in names else "calls with an end user"
            yield f"{what}, and there is {' and '.join(names)}, so that {refused} are refused: {_SET_A_PRICE}"
        elif name in fallbacks:
            yield f"{what}, so that calls with a budget, such as that of a key, do not fall back to it: {_SET_A_PRICE}"


def missing_prices_of_key(router: Router, may_use: Callable[[str], bool]) -> list[str]:
    """A line for each deployment that the budget of a key keeps from its calls, because its price is not known.

    Args:
        router: The router.
        may_use: Whether the key may use a model of this name; the fallbacks of that follow without being asked.
    """
    chains = fallbacks_of(router)
    asked = {name for name, _ in deployments_of(router) if may_use(name)}
    asked |= {spare for name in asked for spare in chains.get(name, ())}
    return [
        f"{name} ({deployment.name}) has no known price, so that it does not answer calls of a key with a budget, also "
        f"not as a fallback: {_SET_A_PRICE}"
        for name, deployment in _unpriced(router)
        if name in asked
    ]


def _uncallable(router: Router) -> Iterator[str]:
    for name, each in deployments_of(router):
        if (fault := each.fault()) is not None:
            shown = name if name == each.name else f"{name} ({each.name})"
            yield f"{shown} cannot be called: {for_operator(fault.message)}"


def _unpriced(router: Router) -> Iterator[tuple[str, Deployment]]:
    for name, deployment in deployments_of(router):
        try:
            deployment.estimate(RerankRequest(query="", documents=()))
        except UnknownPriceError:
            yield name, deployment
        except RerankError:  # it cannot be called
            continue
