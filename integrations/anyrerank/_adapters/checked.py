"""Models whose errors are ours."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from anyrerank._core.engine import problem
from anyrerank.errors import BadRequestError


class CheckedModel(BaseModel):
    """A model that raises `BadRequestError` for a wrong field, not a `ValidationError`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise BadRequestError(problem(error, type(self), fields)) from None
