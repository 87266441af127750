"""Haystack: a ranker over any provider, synchronously and asynchronously.

    AnyRerank   a component for `Pipeline`, and for `AsyncPipeline` of Haystack 2

Needs haystack-ai 2.10 or later, or 3 (`pip install 'anyrerank[haystack]'`).
"""

from anyrerank.errors import MissingExtraError

try:
    from haystack import component  # noqa: F401  for the error below; farm-haystack 1 has none
except ImportError as error:
    raise MissingExtraError("haystack-ai is not installed: pip install 'anyrerank[haystack]'") from error

from anyrerank.haystack.component import AnyRerank
from anyrerank.haystack.documents import TextFunction

__all__ = ["AnyRerank", "TextFunction"]
