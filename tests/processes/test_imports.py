"""What a fresh interpreter loads, and what it says of an extra that is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.extras import SERVE
from tests.support.loopback import Loopback
from tests.support.processes import python

from anyrerank.providers._table import ROWS

LOADED = "sorted(name for name in sys.modules if name.startswith('anyrerank.providers.') and '._' not in name)"


def test_importing_loads_no_framework_and_opens_no_socket() -> None:
    code = """
import sys
sockets = []
sys.addaudithook(lambda event, arguments: sockets.append(event) if event.startswith("socket.") else None)
import anyrerank
anyrerank.Reranker("cohere/rerank-v3.5", fallbacks=["nvidia_nim/nvidia/rerank-qa"])
heavy = ("haystack", "langchain_core", "llama_index", "aiohttp", "sklearn", "torch", "numpy", "tqdm", "IPython")
print([name for name in heavy if name in sys.modules], [event for event in sockets if event != "socket.gethostname"])
"""
    assert python(code) == "[] []"


def test_a_gateway_starts_without_asking_another_host(tmp_path: Path) -> None:
    entry = "{model_name: rerank, litellm_params: {model: cohere/rerank-v3.5, api_key: a-key}}"
    (tmp_path / "config.yaml").write_text(f"model_list: [{entry}]", encoding="utf-8")
    code = f"""
import atexit, os, socket, sys
os.chdir({str(tmp_path)!r})
os.environ["XDG_STATE_HOME"] = {str(tmp_path)!r}
asked = set()

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto") and arguments[0].family != socket.AF_UNIX:
        asked.add(arguments[1][0])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked.add(arguments[0])

sys.addaudithook(watch)
atexit.register(lambda: print(sorted(asked - {{"127.0.0.1", None}}), file=sys.__stdout__))
{SERVE}
"""
    assert python(code) == "[]"


@pytest.mark.parametrize("name", ["cohere", "bedrock", "sentence_transformers"])
def test_a_provider_is_loaded_without_the_others_and_without_its_libraries(name: str) -> None:
    code = f"""
import sys, anyrerank
anyrerank.Reranker("{name}/model")
print({LOADED}, {{"botocore", "google.auth", "azure.identity", "torch", "fastembed"}} & sys.modules.keys())
"""
    assert python(code) == f"['anyrerank.providers.{name}'] set()"


def test_a_row_of_the_table_is_loaded_without_the_file_of_any_provider() -> None:
    code = f"""
import sys, anyrerank
for name in {sorted(ROWS)}:
    anyrerank.Reranker(f"{{name}}/model", api_key="k", api_base="http://localhost:1")
print("anyrerank.providers._table" in sys.modules, {LOADED})
"""
    assert python(code) == "True []"


@pytest.mark.parametrize(
    ("module", "absent", "extra"),
    [
        ("anyrerank.haystack", "haystack", "anyrerank[haystack]"),
        ("anyrerank.langchain", "langchain_core", "anyrerank[langchain]"),
        ("anyrerank.llama_index", "llama_index", "anyrerank[llama-index]"),
        ("anyrerank.telemetry", "opentelemetry", "anyrerank[otel]"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(module: str, absent: str, extra: str) -> None:
    code = f"""
import sys
sys.modules["{absent}"] = sys.modules["{absent}.core"] = None
from anyrerank import ConfigurationError, rerank
try:
    import {module}
except ConfigurationError as error:
    print(error)
print(len(rerank("local/lexical", "a", ["a"]).results))
"""
    message, results = python(code).splitlines()
    assert message.endswith(f"pip install '{extra}'")
    assert results == "1"


def test_presidio_that_is_not_installed_is_a_missing_extra() -> None:
    code = """
import sys
sys.modules["presidio_analyzer.predefined_recognizers"] = None
from anyrerank import MissingExtraError
from anyrerank.guardrails import PresidioMask
try:
    PresidioMask()("query")
except MissingExtraError as error:
    print(error)
"""
    assert python(code).startswith("Presidio cannot be imported")


def test_anyrerank_testing_needs_no_test_framework() -> None:
    code = """
import sys
from anyrerank.testing import fake_provider
print({"pytest", "_pytest", "hypothesis", "unittest"} & sys.modules.keys())
"""
    assert python(code) == "set()"


def test_calls_that_begin_together_share_the_first_session(serve: Callable[..., Loopback]) -> None:
    """Where aiohttp is not loaded yet: a session that is forgotten warns when it is collected."""
    code = """
import asyncio, gc, sys
from anyrerank import Reranker

async def ask():
    async with Reranker("cohere/m", api_key="k", api_base=sys.argv[1]) as reranker:
        await asyncio.gather(*(reranker.arerank("q", ["a"]) for _ in range(16)))

assert "aiohttp" not in sys.modules
asyncio.run(ask())
gc.collect()
"""
    assert python(code, serve().url) == ""
