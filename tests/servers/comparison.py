"""The figures of the table "Why this one" in the README, beside the packages that it names.

    python -m venv peers && peers/bin/pip install -r tests/servers/requirements-migration.txt ".[langchain]"
    peers/bin/python tests/servers/comparison.py

An import counts with its CPU time, the calls with what the clock shows: they wait for a server that takes 0.5 s. The
package rerankers loads what of its extras is installed, LiteLLM included: measure it in an environment of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from statistics import median
from typing import Any

from langchain_core.documents import Document

from anyrerank.langchain import AnyRerank
from anyrerank.testing import Exchange, StubServer

_CALLS = 100
_MODULES = ("anyrerank", "rerankers", "litellm")
_IMPORT = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"
_FOUND = [Document(page_content=text) for text in ("Venus is hot.", "Mars is the red planet.")]


def importing(module: str) -> float:
    """Seconds of CPU time of an import, the median of five fresh interpreters."""
    command = [sys.executable, "-c", _IMPORT.format(module)]
    environment = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }  # LiteLLM asks the network for prices otherwise
    return median(float(subprocess.check_output(command, env=environment, text=True)) for _ in range(5))  # noqa: S603


def slow(exchange: Exchange) -> None:
    """Rank after half a second."""
    time.sleep(0.5)
    exchange.rank()


async def concurrently(compressor: Any) -> float:
    """Seconds that 100 calls take which begin together."""
    start = time.perf_counter()
    await asyncio.gather(*(compressor.acompress_documents(_FOUND, "Which planet is red?") for _ in range(_CALLS)))
    return time.perf_counter() - start


def compressors(url: str) -> Sequence[tuple[str, Any]]:
    """The adapters, with the name of their package."""
    cohere, nvidia = import_module("langchain_cohere"), import_module("langchain_nvidia_ai_endpoints")
    nim = "nvidia/llama-nemotron-rerank-1b-v2"
    return (
        ("anyrerank", AnyRerank(model="cohere/rerank-v3.5", api_key="key", api_base=url)),
        ("langchain-cohere", cohere.CohereRerank(model="rerank-v3.5", cohere_api_key="key", base_url=url)),
        ("langchain-nvidia-ai-endpoints", nvidia.NVIDIARerank(model=nim, base_url=f"{url}/v1", api_key="key")),
    )


def main() -> None:
    """Print a line for each figure."""
    for module in filter(find_spec, _MODULES):
        sys.stdout.write(f"import {module} {version(module)}: {importing(module):.3f} s\n")
    with StubServer(handler=slow) as server:
        for name, compressor in compressors(server.url):
            seconds = asyncio.run(concurrently(compressor))
            sys.stdout.write(f"{_CALLS} calls of {name} {version(name)}: {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
