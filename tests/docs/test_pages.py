"""The Python blocks of the pages under docs/ run, in order, and print what the page shows below them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index_instrumentation import get_dispatcher
from tests.support.gateway import entry, gateway_of, running
from tests.support.pages import ROOT, blocks

from anyrerank.demo import Lsa, train_embedding
from anyrerank.demo.in_langchain import vector_store
from anyrerank.demo.in_llama_index import LsaEmbedding, nodes
from anyrerank.providers import load
from anyrerank.testing import StubServer

DOCS = ROOT / "docs"
ELSEWHERE = {
    "batch.md": "needs files of the reader",
    "own_provider.md": "repeats ADDING.md",
}
"""Pages whose code is not run here, and why; it is type-checked all the same."""
PAGES = [page for page in sorted(DOCS.glob("**/*.md")) if blocks(page) and page.name not in ELSEWHERE]
ASKED = ("cohere", "jina_ai", "nvidia_nim", "voyage")
"""Providers that pages call: a stub server answers in their place."""
_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def lsa() -> Lsa:
    return train_embedding()[0]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(
    page: Path, lsa: Lsa, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Settings, "_llm", MockLLM(max_tokens=1))
    monkeypatch.setattr(get_dispatcher(), "event_handlers", [*get_dispatcher().event_handlers])
    given: dict[str, Any] = {
        "__name__": "__main__",
        "store": vector_store(lsa),
        "index": VectorStoreIndex(nodes(), embed_model=LsaEmbedding(lsa)),
    }
    with StubServer() as server, running(gateway_of([entry("local/lexical")], master_key=None)) as gateway:
        for provider in map(load, ASKED):
            monkeypatch.setenv(provider.key_variables[0], "a-key-of-the-pages")
            monkeypatch.setenv(provider.base_variables[0], server.url)
        for block, shown in _BLOCK.findall(page.read_text(encoding="utf-8")):
            code = block.replace("http://127.0.0.1:4000", gateway).replace("http://localhost:8000", server.url)
            exec(compile(code, page.name, "exec"), given)  # noqa: S102
            printed = capsys.readouterr().out
            if shown:
                assert printed == shown
