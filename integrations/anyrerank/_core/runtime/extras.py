"""Optional libraries, imported on first use."""

from __future__ import annotations

import importlib
from typing import Any

from anyrerank.errors import MissingExtraError


def needed(module: str, extra: str, *, called: str | None = None) -> Any:
    """Import an optional library.

    Args:
        module: Full name of the module.
        extra: The extra of this package that installs it.
        called: Name of the library in the error message; by default `module`.

    Raises:
        MissingExtraError: It is not installed; the message holds the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{called or module} cannot be imported ({error}): pip install 'anyrerank[{extra}]'"
        ) from error
