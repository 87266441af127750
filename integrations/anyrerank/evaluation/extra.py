"""The libraries of the extra `evaluation`, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from anyrerank.errors import ConfigurationError


def required(name: str) -> Any:
    """A module of the extra.

    Raises:
        ConfigurationError: It cannot be imported; says what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(f"{name} cannot be imported ({error}): pip install 'anyrerank[evaluation]'") from error
