"""LangChain: a document compressor and a retriever over any provider.

    AnyRerank        a `BaseDocumentCompressor`, for `ContextualCompressionRetriever`, pipelines and `as_runnable()`
    RerankRetriever  a `BaseRetriever` that retrieves with another one and reranks

Needs langchain-core alone (`pip install 'anyrerank[langchain]'`).
"""

from anyrerank.langchain.compressor import AnyRerank, RerankRetriever, RerankRunnable, TextFunction

__all__ = ["AnyRerank", "RerankRetriever", "RerankRunnable", "TextFunction"]
