"""LangChain: a document compressor, a retriever and a runnable over any provider.

    AnyRerank        a `BaseDocumentCompressor`, for `ContextualCompressionRetriever` and compressor pipelines
    RerankRetriever  a `BaseRetriever` that retrieves with another one and reranks
    RerankRunnable   a `Runnable` for LCEL, made by `AnyRerank.as_runnable()`

Needs langchain-core only (`pip install 'anyrerank[langchain]'`).
"""

from anyrerank.errors import MissingExtraError

try:
    import langchain_core  # noqa: F401  for the error below
except ImportError as error:
    raise MissingExtraError("LangChain is not installed: pip install 'anyrerank[langchain]'") from error

from anyrerank.langchain.compressor import AnyRerank, RerankRunnable
from anyrerank.langchain.documents import TextFunction
from anyrerank.langchain.retriever import RerankRetriever

__all__ = ["AnyRerank", "RerankRetriever", "RerankRunnable", "TextFunction"]
