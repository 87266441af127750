"""llama.cpp's server, started with `--reranking` (https://github.com/ggml-org/llama.cpp/tree/master/tools/server)."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from anyrerank._core.runtime import HttpResponse
from anyrerank.errors import BadRequestError, RerankError
from anyrerank.providers._base import CohereStyle, message_in


class LlamaCpp(CohereStyle):
    """What the scores mean depends on the model: logits for BGE, probabilities for Qwen3 with its template.

    A text must fit into the server's physical batch (`--ubatch-size`).
    """

    prefix = "llama_cpp"
    title = "llama.cpp"
    key_variables = ("LLAMA_CPP_API_KEY", "LLAMA_API_KEY")
    base_variables = ("LLAMA_CPP_API_BASE",)
    needs_key = False

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        # the server answers a text that is too long with a 500, which a retry cannot help
        if response.status == 500 and "too large" in message_in(body, response.content):
            return BadRequestError
        return super().error_class(response, body)
