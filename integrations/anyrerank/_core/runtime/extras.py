"""Optional libraries, imported on first use."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from anyrerank.errors import MissingExtraError


def import_optional(module: str, extra: str, *, called: str | None = None) -> Any:
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


def check_installed(module: str, extra: str) -> None:
    """Raise if an optional library is not installed; does not import it, which may take seconds.

    Raises:
        MissingExtraError: It is not; the message holds the command that installs it.
    """
    try:
        found = sys.modules[module] if module in sys.modules else importlib.util.find_spec(module)
    except ModuleNotFoundError:  # its parent package
        found = None
    if found is None:
        raise MissingExtraError(f"{module} is not installed: pip install 'anyrerank[{extra}]'")
