"""Every code block of the README runs, in order, and its tables are true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.llms import MockLLM
from tests.support.gateway import entry, gateway_of, running
from tests.support.loopback import Line, Loopback
from tests.support.pages import ROOT, blocks

from anyrerank import rerank
from anyrerank.catalog import cards, markdown
from anyrerank.demo import Lsa, train_embedding
from anyrerank.demo.in_langchain import vector_store
from anyrerank.demo.in_llama_index import LsaEmbedding, nodes

PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table after `heading`, without its head."""
    table = re.search(r"(?:^\|.*\n)+", README[README.index(heading) :], flags=re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def nim(line: Line) -> None:
    """What NVIDIA would answer, with the last passage as the best one."""
    count = len(line.hit.json["passages"])
    line.answer(200, {"rankings": [{"index": index, "logit": float(index)} for index in reversed(range(count))]})


@pytest.fixture(scope="module")
def lsa() -> Lsa:
    return train_embedding()[0]


@pytest.mark.slow
@pytest.mark.usefixtures("waits")
@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_the_code_runs(
    lsa: Lsa,
    serve: Callable[..., Loopback],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    server = serve(nim)
    monkeypatch.chdir(tmp_path)  # the ledger is made where one is
    monkeypatch.setenv("NVIDIA_NIM_API_KEY", "nvapi-of-the-readme")
    monkeypatch.setenv("NVIDIA_NIM_API_BASE", server.url)
    monkeypatch.setattr(Settings, "_llm", MockLLM(max_tokens=1))
    given: dict[str, Any] = {
        "store": vector_store(lsa),
        "index": VectorStoreIndex(nodes(), embed_model=LsaEmbedding(lsa)),
    }
    shown = []
    with running(gateway_of([entry("local/lexical")], master_key=None)) as url:
        for block in blocks(PAGE):
            code = block.replace("http://127.0.0.1:4000", url)
            exec(compile(code, "README.md", "exec"), given)  # noqa: S102
            shown.append(capsys.readouterr().out)

    one_call, many, langchain, _, llama_index, haystack, *later = shown
    nvidia, router, ledger, error, compared, gateway, fake, stub, _ = later
    assert one_call == "{'text': 'Mars is the red planet.'}\n"
    assert many == "[0, 1]\n"
    for scores in (re.findall(r"^0\.\d+ ", found, flags=re.MULTILINE) for found in (langchain, llama_index)):
        assert len(scores) == 3
    assert haystack == "Mars is the red planet.\n"
    assert nvidia == "1.0\n"
    assert server.hits[0].json["truncate"] == "END"
    assert router == "lexical 0.0 [('spare-1', None)]\n"
    assert ledger.startswith("Spend(group={'user': 'ann', 'model': 'local/lexical'}, calls=1,")
    assert compared.startswith("60 calls, estimated cost $0.0000: lexical 60 ($0.0000)")
    assert "not significant" in compared
    assert gateway == "1\n"
    assert fake == "1 ['RateLimitError', None] 2\n"
    assert stub == "1\n['/v2/rerank', '/v2/rerank']\n"
    assert error.startswith("AuthenticationError None no API key for Cohere")


def test_the_commands_are_there() -> None:
    commands = [line for block in blocks(PAGE, "console") for line in block.splitlines() if line.startswith("make")]
    assert commands == ["make demo", "make test"]
    for command in commands:
        subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)  # noqa: S603


@pytest.mark.process
def test_curl_calls_the_gateway() -> None:
    (command,) = (line for block in blocks(PAGE, "console") for line in block.splitlines() if line.startswith("curl"))
    with running(gateway_of([entry("local/lexical")], master_key=None)) as url:
        words = shlex.split(command.replace("http://127.0.0.1:4000", url))
        done = subprocess.run([*words, "--silent"], check=True, capture_output=True)  # noqa: S603
    assert json.loads(done.stdout)["results"][0]["document"] == {"text": "Mars is red."}


def test_the_picture_is_what_happens() -> None:
    table = rows("| | what the retriever returned")
    before = [row[1].strip("*") for row in table]
    after = [row[3].strip("*") for row in table]
    response = rerank("local/lexical", "What is the capital of the United States?", before)
    assert [result.document["text"] for result in response.results if result.document] == after


def test_the_pages_say_how_many_providers_there_are() -> None:
    start = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    said = [
        *re.findall(r"^- (\d+) providers|^\| rerank providers \| (\d+)|lists all (\d+)", README + start, re.MULTILINE)
    ]
    assert [int("".join(each)) for each in said] == [len(cards())] * 3


def test_the_table_of_providers_is_what_there_is() -> None:
    page = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    assert markdown(cards()) in page, "update it with: anyrerank providers --markdown"
