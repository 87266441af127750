"""LangChain: a document compressor and a retriever over any provider.

    AnyRerank        a `BaseDocumentCompressor`, for `ContextualCompressionRetriever`, pipelines and `as_runnable()`
    RerankRetriever  a `BaseRetriever` that retrieves with another one and reranks

Needs langchain-core only (`pip install 'anyrerank[langchain]'`).
"""

from anyrerank.errors import ConfigurationError

try:
    import langchain_core  # noqa: F401  for the error below
except ImportError as error:
    raise ConfigurationError("LangChain is not installed: pip install 'anyrerank[langchain]'") from error

from anyrerank.langchain.compressor import AnyRerank, RerankRunnable
from anyrerank.langchain.documents import TextFunction
from anyrerank.langchain.retriever import RerankRetriever

__all__ = ["AnyRerank", "RerankRetriever", "RerankRunnable", "TextFunction"]
