"""A real llama.cpp server with a tiny reranking model. It prints its address, and stops when its input ends.

`python -m tests.servers.llama_cpp FOLDER KEY` writes the model to FOLDER and requires KEY.
"""

from __future__ import annotations

import sys
from pathlib import Path

import xllamacpp

from tests.servers import tiny_gguf


def main(folder: str, key: str) -> None:
    model = Path(folder) / "tiny.gguf"
    tiny_gguf.write(model)
    server = xllamacpp.Server(_parameters(model, key))
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


def _parameters(model: Path, key: str) -> xllamacpp.CommonParams:
    """One passage at a time on one thread, so that scores do not depend on the other passages."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.api_keys = [key]
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = tiny_gguf.CONTEXT
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.n_threads_http = 8
    parameters.warmup = False
    parameters.verbosity = 0
    return parameters


if __name__ == "__main__":
    main(*sys.argv[1:])
