"""A pydantic model that raises our errors."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from anyrerank._core.engine import problem, unknown_option
from anyrerank.errors import InvalidArgumentError


class CheckedModel(BaseModel):
    """A model that raises `InvalidArgumentError` for a wrong field, not a `ValidationError`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InvalidArgumentError(problem(error, type(self), fields)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise InvalidArgumentError(problem(error, type(self), {name: value})) from None
        except ValueError:
            raise InvalidArgumentError(unknown_option(name, type(self), type(self).model_fields)) from None
