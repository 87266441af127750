"""The parts of a configuration that replicas must have in common, and those in which two of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256

from anyrerank._core.client import Router, budgets_of, entries_of
from anyrerank._core.pricing import Budget, Price
from anyrerank._core.routing import Entry, NamedGuardrail
from anyrerank.errors import RerankError
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.ledger import By

_SETTINGS = ("max_parallel_requests", "allow_requests_on_db_unavailable")
_BUDGETS: Mapping[By | None, str] = {None: "max_budget", "user": "max_end_user_budget"}
_MOST_NAMED = 5


def parts_of(router: Router, settings: GatewaySettings, guardrails: Sequence[NamedGuardrail]) -> dict[str, str]:
    """A digest of each model, budget, limit and guardrail, by its name; keys and addresses are not among them."""
    found: dict[str, object] = {
        f"the model {name}": sorted(map(_entry, entries)) for name, entries in entries_of(router).items()
    }
    for (by, name), budget in all_budgets(router).items():
        found[_BUDGETS.get(by) or f"the budget of the deployment {name}"] = (budget.dollars, budget.window)
    found |= {name: getattr(settings, name) for name in _SETTINGS}
    found |= {f"the guardrail {each.name}": (each.kind, each.default_on, each.digest) for each in guardrails}
    return {name: sha256(repr(part).encode()).hexdigest()[:16] for name, part in found.items()}


def differences(parts: Mapping[str, str], others: Iterable[Mapping[str, str]]) -> list[str]:
    """The names of the parts that are not the same everywhere; of many the first ones, and how many more there are."""
    names = sorted({name for other in others for name, _ in parts.items() ^ other.items()})
    more = len(names) - _MOST_NAMED
    return [*names[:_MOST_NAMED], f"{more} more"] if more > 0 else names


def _entry(entry: Entry) -> tuple[str, str, str]:
    price: Price | None = None
    with suppress(RerankError):  # it has no key
        price = entry.deployment.price()
    return entry.id, entry.deployment.name, repr((entry.terms.rpm, entry.terms.tpm, price))


def all_budgets(router: Router) -> dict[tuple[By | None, str | None], Budget]:
    """The budgets of a router, and what each is for."""
    options = router.options
    found: dict[tuple[By | None, str | None], Budget] = {
        (None, str(number)): each for number, each in enumerate(options.shared_budgets)
    }
    if options.user_budget is not None:
        found["user", None] = options.user_budget
    return found | {("deployment", name): each for name, each in budgets_of(router).items()}
