"""Help that lists the fields of a model."""

import inspect
import textwrap
from typing import TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from anyrerank._adapters.fields import RerankFields
from anyrerank._core.engine import RerankerOptions

ModelT = TypeVar("ModelT", bound=BaseModel)


def lists_fields(model: type[ModelT]) -> type[ModelT]:
    """Show the fields of `model` in its docstring and in its signature."""
    fields = sorted(model.model_fields.items(), key=lambda field: _rank(field[0]))
    lines = (_line(name, field.description or "") for name, field in fields)
    model.__doc__ = "\n".join([inspect.cleandoc(model.__doc__ or ""), "", "Attributes:", *lines])
    parameters = [_parameter(name, field) for name, field in fields]
    model.__signature__ = inspect.Signature(parameters)
    return model


def _rank(name: str) -> tuple[bool, bool]:
    """For sorting: first the fields of the adapters, then those of one framework, then the options of a `Reranker`."""
    return name in RerankerOptions.model_fields, name not in RerankFields.model_fields


def _line(name: str, description: str) -> str:
    text = f"{name}: {' '.join(description.split())}"
    return textwrap.fill(text, 116, initial_indent="    ", subsequent_indent="        ")


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    default = ... if field.default_factory else field.default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.annotation)
