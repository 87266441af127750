"""LlamaIndex: a node postprocessor over any provider (`pip install 'anyrerank[llama-index]'`)."""

from anyrerank.llama_index.postprocessor import AnyRerank, RerankUsageEvent

__all__ = ["AnyRerank", "RerankUsageEvent"]
