"""llama.cpp's server and LocalAI. Mixedbread has one of these paths too.

Source: https://github.com/ggml-org/llama.cpp/tree/master/tools/server
"""

from anyrerank.gateway.dialects._base import CohereStyle


class LlamaCpp(CohereStyle):
    """Like Jina's API at another path."""

    name = "llama_cpp"
    paths = ("/reranking", "/v1/reranking")
    shared = True
