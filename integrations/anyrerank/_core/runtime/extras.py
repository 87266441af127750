"""Libraries that only some need, imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

from anyrerank.errors import ConfigurationError


def needed(module: str, extra: str, *, called: str | None = None) -> Any:
    """The module, imported.

    Args:
        module: Its full name.
        extra: The extra of this package that installs it.
        called: What people call it, where that is another name.

    Raises:
        ConfigurationError: It is not installed; the message holds the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{called or module} cannot be imported ({error}): pip install 'anyrerank[{extra}]'"
        ) from error
