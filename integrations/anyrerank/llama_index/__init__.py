"""LlamaIndex: a node postprocessor over any provider.

Needs llama-index-core only (`pip install 'anyrerank[llama-index]'`).
"""

from anyrerank.errors import MissingExtraError

try:
    import llama_index.core  # noqa: F401  for the error below
except ImportError as error:
    raise MissingExtraError("LlamaIndex is not installed: pip install 'anyrerank[llama-index]'") from error

from anyrerank.llama_index.events import RerankUsageEvent
from anyrerank.llama_index.nodes import TextFunction
from anyrerank.llama_index.postprocessor import AnyRerank

__all__ = ["AnyRerank", "RerankUsageEvent", "TextFunction"]
