"""vLLM's server (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, "Re-rank API").

`/v1/rerank` is called because vLLM does not check the key on `/rerank`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from anyrerank._core.types import Document, RerankRequest, text_of
from anyrerank.providers._base import TOTAL_USAGE, CohereStyle

_TEXT_ONLY = re.compile(
    "bge-|colbert|cross-encoder|e5-|electra|gte-|jina-reranker-v[0-9]|minilm|ms-marco|mxbai|qwen3-reranker|zerank",
    re.IGNORECASE,
)


class HostedVllm(CohereStyle):
    """What the scores mean depends on the model: mostly 0..1 for cross-encoders, cosines for bi-encoders.

    For models that read images, a document may be a mapping with an `image` (a URL, or a data URL) and a `text`, or
    with a `content`: a list of vLLM's content parts. Older servers ignore options that they do not know, such as
    `instruction`, without an error.
    """

    prefix = "hosted_vllm"
    title = "vLLM"
    key_variables = ("HOSTED_VLLM_API_KEY", "VLLM_API_KEY")
    base_variables = ("HOSTED_VLLM_API_BASE",)
    needs_key = False
    images = True
    options = frozenset(
        {
            "cache_salt",
            "chat_template_kwargs",
            "instruction",
            "max_tokens_per_doc",
            "max_tokens_per_query",
            "mm_processor_kwargs",
            "padding",
            "priority",
            "request_id",
            "truncate_prompt_tokens",
            "truncation_side",
            "use_activation",
        }
    )
    usage_paths = TOTAL_USAGE

    @classmethod
    @override
    def reads_images(cls, model: str) -> bool:
        return not _TEXT_ONLY.search(model)

    @override
    def documents(self, request: RerankRequest) -> Sequence[Document]:
        return [self._input(document, request) for document in request.documents]

    def _input(self, document: Document, request: RerankRequest) -> Document:
        """A document as vLLM takes it: a text, or content parts."""
        if isinstance(document, str) or not self.reads_images(self.connection.model):
            return text_of(document, request.rank_fields)
        if isinstance(content := document.get("content"), list) and content:
            return {"content": content}
        if not (image := document.get("image")):
            return text_of(document, request.rank_fields)
        text = _text(document, request)
        return {"content": [{"type": "image_url", "image_url": {"url": image}}, *text]}


def _text(document: Mapping[str, Any], request: RerankRequest) -> list[dict[str, Any]]:
    """The content part for the text of a document with an image; none if it is blank."""
    text = text_of({"text": "", **document}, request.rank_fields)
    return [{"type": "text", "text": text}] if text.strip() else []
