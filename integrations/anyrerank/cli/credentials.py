"""The source of a model's key, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyrerank.providers import Provider

_LOOKED_UP = {"bedrock": "AWS's default credentials", "vertex_ai": "Google's default credentials"}
"""The credentials that a call of a provider looks up if none are given."""


def key_text(provider: Provider) -> str:
    """The source of a provider's key, or the variables that may hold one; never the key itself."""
    from anyrerank import catalog

    held, card = provider.connection, catalog.card(type(provider))
    if held.api_key is not None:
        found = f"found in {held.key_variable}" if held.key_variable else "given"
        return found if provider.sends_key else f"none: that in {held.key_variable} is not sent to a server of your own"
    variables = " or ".join(card.key_variables)
    secrets = [name for name, setting in card.settings.items() if setting.secret and held.settings.get(name)]
    if secrets:
        origin = "found in the environment" if held.from_environment.issuperset(secrets) else "given"
        return f"{origin}: {', '.join(secrets)}"
    if provider.prefix in _LOOKED_UP:
        return f"from {_LOOKED_UP[provider.prefix]}, which a call looks up"
    if provider.key_required and variables:
        return f"not found: looked at {variables}"
    if any(setting.secret for setting in card.settings.values()):
        others = [name for setting in card.settings.values() if setting.secret for name in setting.variables]
        return f"not found: looked at {', '.join([*card.key_variables, *others])}; other credentials may exist"
    return f"none, which some servers allow: looked at {variables}" if variables else "not needed"
