"""The fields of `AnyRerank` as keyword arguments, for type checkers and editors."""

from __future__ import annotations

from typing import Literal

from anyrerank._adapters import AdapterKeywords
from anyrerank.langchain.documents import TextFunction


class CompressorKeywords(AdapterKeywords, total=False):
    """Keyword arguments of `AnyRerank`."""

    metadata_key: str
    text_fn: TextFunction | None
    trace_as: Literal["chain", "retriever"]
    trace_content: bool
