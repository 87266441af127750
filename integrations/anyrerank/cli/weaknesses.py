"""What is allowed in the configuration of a gateway, and is probably a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from anyrerank.errors import RerankError, UnknownPriceError

if TYPE_CHECKING:
    from anyrerank import Router
    from anyrerank.gateway import GatewaySettings

_LENGTH_OF_A_KEY = 20


def short_master_key(settings: GatewaySettings) -> str | None:
    """A line about a master key that may be guessed; `None` if it is long enough, or there is none."""
    if settings.master_key is None or len(settings.master_key.get_secret_value()) >= _LENGTH_OF_A_KEY:
        return None
    return (
        f"the master key has fewer than {_LENGTH_OF_A_KEY} characters and may be guessed: set one such as "
        "sk-$(openssl rand -hex 24)"
    )


def missing_prices(router: Router) -> Iterator[str]:
    """A line for each deployment whose calls a budget of the configuration refuses, because its price is unknown."""
    from anyrerank._core.client import deployments_of
    from anyrerank.providers import RerankRequest

    options = router.options
    needing = {"max_budget": options.shared_budgets, "max_end_user_budget": options.user_budget}
    names = [name for name, budget in needing.items() if budget]
    for name, deployment in deployments_of(router) if names else ():
        try:
            deployment.estimate(RerankRequest(query="", documents=()))
        except UnknownPriceError:
            refused = "calls" if "max_budget" in names else "calls with an end user"
            yield (
                f"{name} ({deployment.name}) has no known price, and there is {' and '.join(names)}, so that {refused} "
                "are refused: set input_cost_per_query or input_cost_per_token in litellm_params (0 if it is free)"
            )
        except RerankError:  # reported as a model that cannot be called
            continue
