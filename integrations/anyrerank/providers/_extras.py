"""Libraries that only some providers need, and only when they are used."""

from __future__ import annotations

import importlib
from typing import Any

from anyrerank.errors import ConfigurationError


def needed(module: str, extra: str) -> Any:
    """The module, imported.

    Raises:
        ConfigurationError: It is not installed; the message holds the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"{module} cannot be imported ({error}): pip install 'anyrerank[{extra}]'") from error
