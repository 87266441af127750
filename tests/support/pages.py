"""The Python code of the documentation, as readers put it into files."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("integrations/**/*.md")))

READER = '''\
"""What the pages say that the reader has."""

from typing import Protocol

from langchain_core.vectorstores import VectorStore
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.postprocessor.types import BaseNodePostprocessor


class Index(Protocol):
    """What is used of an index of LlamaIndex, whose own annotations are incomplete."""

    def as_query_engine(
        self, *, similarity_top_k: int, node_postprocessors: list[BaseNodePostprocessor]
    ) -> BaseQueryEngine: ...

    def as_retriever(self, *, similarity_top_k: int) -> BaseRetriever: ...


store: VectorStore
index: Index
'''
_GIVEN = {"store", "index"}
_NAMED_FILE = re.compile(r"`(\w+\.py)`:$")


def blocks(page: Path, language: str = "python") -> list[str]:
    """The code of a page in one language, block by block."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def modules(page: Path) -> dict[str, str]:
    """The Python files that a page holds, by name: one for each section, and one for each file that the page names.

    Each line has the number that it has in the page, so that a checker's complaint leads there. A block may use what is
    defined above it in its section; on a page of the site, which is read from the top, what is defined above it at all.
    Names that the page says the reader has are imported from `reader`.
    """
    found: dict[str, dict[int, str]] = {}
    section, file, before = 0, None, ""
    of_the_site = (ROOT / "docs") in page.parents
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines()):
        if file is not None:
            if line == "```":
                file = None
            else:
                found.setdefault(file, {})[number] = line
        elif line.startswith("#") and not of_the_site:
            section += 1
        elif line.startswith("```python"):
            named = _NAMED_FILE.search(before)
            file = named[1] if named else f"{page.stem.lower()}_{section}.py"
        elif line.startswith("```"):
            file = ""  # of another language
        before = line or before
    return {name: _source(lines) for name, lines in found.items() if name}


def _source(lines: dict[int, str]) -> str:
    text = "\n".join(lines.get(number, "") for number in range(max(lines) + 1))
    used = (name for name in _GIVEN if re.search(rf"\b{name}\b\.", text))
    given = sorted(name for name in used if not re.search(rf"^{name} = ", text, flags=re.MULTILINE))
    return (f"from reader import {', '.join(given)}" if given else "") + text + "\n"
