"""The code that the dialects share."""

from anyrerank.gateway.dialects._base.cohere_style import CohereStyle
from anyrerank.gateway.dialects._base.dialect import Dialect, ParsedRequest, RankedAnswer, text_in
from anyrerank.gateway.dialects._base.fields import Fields, as_seconds

__all__ = ["CohereStyle", "Dialect", "Fields", "ParsedRequest", "RankedAnswer", "as_seconds", "text_in"]
