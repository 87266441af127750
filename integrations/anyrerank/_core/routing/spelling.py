"""Settings whose names are misspelt: to ignore them would drop a limit or a key without a word."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable

from anyrerank.errors import ConfigurationError

_CLOSE = 0.85
"""How similar a misspelt name is to the right one."""
_OF_LITELLM = frozenset({"callbacks", "max_user_budget"})
"""Settings of LiteLLM's that have no effect here, and are as similar to some that have."""


def refuse_misspelt(section: str, given: Iterable[object], meant: Iterable[str], known: Container[object] = ()) -> None:
    """Raise for a name that is nearly that of a setting.

    Args:
        section: Where the names are, for the error; empty for the top of a file.
        given: The names.
        meant: The settings that have an effect, or are refused.
        known: Other settings that exist.

    Raises:
        ConfigurationError: There is one.
    """
    right = sorted(meant)
    for name in sorted(map(str, given)):
        if name in right or name in known or name in _OF_LITELLM:
            continue
        for match in difflib.get_close_matches(name, right, 1, _CLOSE):
            what = f"{section} has no setting" if section else "there is no section"
            raise ConfigurationError(f"{what} {name[:80]}; did you mean {match}?")
