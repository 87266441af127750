"""`Reranker`, `Router` and the functions."""

from anyrerank._core.client.attributes import attributes, using_attributes
from anyrerank._core.client.base import BaseReranker
from anyrerank._core.client.functions import arerank, rerank
from anyrerank._core.client.progress import Bar
from anyrerank._core.client.reranker import Reranker
from anyrerank._core.client.router import Router

__all__ = ["Bar", "BaseReranker", "Reranker", "Router", "arerank", "attributes", "rerank", "using_attributes"]
