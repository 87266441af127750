"""The fields of `AnyRerank` as keyword arguments, for type checkers and editors."""

from __future__ import annotations

from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import MetadataMode

from anyrerank._adapters import AdapterKeywords
from anyrerank.llama_index.nodes import ImagePolicy, TextFunction


class PostprocessorKeywords(AdapterKeywords, total=False):
    """Keyword arguments of `AnyRerank`."""

    callback_manager: CallbackManager
    metadata_mode: MetadataMode | str
    text_fn: TextFunction | None
    images: ImagePolicy
