"""Signatures and docstrings that list the options."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

F = TypeVar("F", bound=Callable[..., Any])

_MARKER = "{options}"
_WIDTH = 112


def lists_options(model: type[BaseModel]) -> Callable[[F], F]:
    """List the fields of `model` in the signature and the docstring of a function that takes them as `**options`.

    They are shown by `help()`, Jupyter and `inspect.signature`; editors and type checkers read the annotation instead.
    The docstring lists them at `{options}`.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        explicit = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        names = {each.name for each in explicit}
        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.annotation)
            for name, field in model.model_fields.items()
            if name not in names
        ]
        others = inspect.Parameter("provider_options", inspect.Parameter.VAR_KEYWORD, annotation=Any)
        parameters = [*explicit, *keywords, others]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        function.__doc__ = (function.__doc__ or "").replace(_MARKER, _described(model).strip())
        return function

    return decorate


def _described(model: type[BaseModel]) -> str:
    lines = (_line(name, field.description or "") for name, field in model.model_fields.items())
    provider = "provider_options: Options of the provider, and settings of its connection such as `aws_region_name`."
    return "\n".join([*lines, textwrap.indent(provider, " " * 12)])


def _line(name: str, description: str) -> str:
    text = f"{name}: {' '.join(description.split())}"
    return textwrap.fill(text, _WIDTH, initial_indent=" " * 12, subsequent_indent=" " * 16)
