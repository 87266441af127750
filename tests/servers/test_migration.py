"""What the migration pages show as the code before, which their packages run, prints what the page shows below it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from anyrerank.testing import StubServer
from tests.support.pages import ROOT

PAGES = sorted((ROOT / "docs" / "migration").glob("*.md"))
_BEFORE = re.compile(r"^```py\n(.*?)^```\n\n```text\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_before_prints_what_the_page_shows(page: Path, environment: Callable[[str], str]) -> None:
    python = environment("migration")
    blocks = _BEFORE.findall(page.read_text(encoding="utf-8"))
    assert blocks
    for block, shown in blocks:
        with StubServer() as server:
            code = block.replace("http://localhost:8000", server.url)
            code = code.replace('(model="rerank-v3.5")', f'(model="rerank-v3.5", base_url="{server.url}")')
            code = code.replace('(model="rerank-2.5"', f'(model="rerank-2.5", base_url="{server.url}/v1"')
            code = code.replace("verbose=0", f'verbose=0, url="{server.url}/v1/rerank"')
            done = subprocess.run(  # noqa: S603
                [python, "-W", "ignore", "-c", code],
                env={
                    **os.environ,
                    "COHERE_API_KEY": "a-key-of-the-pages",
                    "COHERE_API_BASE": server.url,
                    "VOYAGE_API_KEY": "a-key-of-the-pages",
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                },
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.stdout == shown, done.stderr[-4000:]
