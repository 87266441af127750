"""The code that the dialects share."""

from anyrerank.gateway.dialects._base.cohere_style import CohereStyle
from anyrerank.gateway.dialects._base.dialect import Asked, Dialect, Ranked, text_in
from anyrerank.gateway.dialects._base.fields import Fields

__all__ = ["Asked", "CohereStyle", "Dialect", "Fields", "Ranked", "text_in"]
