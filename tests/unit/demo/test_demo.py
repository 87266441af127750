"""The demo: its text, its embedding, both pipelines, and what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TypeAlias

import pytest
from rich.console import Console
from tests.support.harness import KEY
from tests.support.loopback import Line, Loopback
from typer.testing import CliRunner, Result

from anyrerank import Reranker
from anyrerank.cli.commands import app
from anyrerank.demo import tables
from anyrerank.demo.corpus import VERSION, WORDS, paragraphs, passages, topics
from anyrerank.demo.embedding import DIMENSIONS, Lsa
from anyrerank.demo.in_langchain import LangChainPipeline
from anyrerank.demo.in_llama_index import LlamaIndexPipeline, nodes
from anyrerank.demo.outcome import Outcome, Pipeline, Ranked, Setting
from anyrerank.demo.questions import QUESTIONS, Question
from anyrerank.demo.show import learnt
from anyrerank.errors import BadRequestError

Kind: TypeAlias = Callable[[Lsa, Reranker, Setting], Pipeline]
PIPELINES: tuple[Kind, ...] = (LangChainPipeline, LlamaIndexPipeline)
FLOOR = Setting("local/lexical")


def lsa() -> Lsa:
    return learnt()[0]


@cache
def floor(pipeline: Kind) -> list[Outcome]:
    made = pipeline(lsa(), Reranker(FLOOR.model), FLOOR)
    return [made.ask(question.text) for question in QUESTIONS]


@cache
def printed() -> Result:
    """The demo as it runs without an argument."""
    return CliRunner().invoke(app, ["demo"], env={"COLUMNS": None})


def keys(ranked: tuple[Ranked, ...]) -> list[str]:
    return [passage.key for passage in ranked]


def last_first(line: Line) -> None:
    """Ranks as no sane reranker does: the last candidate comes first."""
    count = len(line.hit.documents)
    rows = [{"index": count - 1 - place, "relevance_score": 1 - place / count} for place in range(count)]
    line.answer(body={"id": "reversed", "results": rows[: line.hit.json.get("top_n")]})


@pytest.fixture
def reversing(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("COHERE_API_BASE", server.url)
    server.script = last_first
    return server


def test_the_text_is_frozen_beside_its_licence() -> None:
    data = files("anyrerank.demo") / "data"
    assert len(topics()) == 76
    assert 300_000 < sum(map(len, topics().values())) < 450_000
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in (data / "LICENSE.txt").read_text(encoding="utf-8")
    assert f"CPython {VERSION}." in (data / "README.md").read_text(encoding="utf-8")


def test_passages_are_the_whole_text_in_pieces() -> None:
    assert max(len(passage.text.split()) for passage in passages()) <= WORDS
    pieces: dict[str, list[str]] = {}
    for passage in passages():
        pieces.setdefault(passage.topic, []).extend(passage.text.split())
    assert pieces == {topic: text.split() for topic, text in topics().items()}


def test_paragraphs_lose_nothing() -> None:
    text = "one\ntwo\n\n  three\n \n\nfour"
    assert paragraphs(text) == ["one\ntwo\n\n", "  three\n \n\n", "four"]


def test_llama_index_cuts_the_same_text() -> None:
    cut = [node.get_content() for node in nodes()]
    assert max(len(text.split()) for text in cut) <= WORDS
    assert "".join("".join(cut).split()) == "".join("".join(topics().values()).split())


def test_the_topics_that_answer_exist() -> None:
    assert all(question.answered_by <= topics().keys() for question in QUESTIONS)


def test_the_embedding_is_the_same_every_time() -> None:
    texts = [passage.text for passage in passages()[:150]]
    first, second = Lsa(texts, dimensions=8), Lsa(texts, dimensions=8)
    assert first.vector(texts[3]) == second.vector(texts[3])
    assert sum(value**2 for value in first.vector(texts[3])) == pytest.approx(1)
    assert len(lsa().vector("What is a generator?")) == DIMENSIONS


def test_a_question_without_a_known_word_has_no_vector() -> None:
    with pytest.raises(BadRequestError, match="none of the question's words"):
        lsa().vector("Why xyzzy?")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_pipeline_reranks_what_it_retrieves(pipeline: Kind) -> None:
    outcomes = floor(pipeline)
    for outcome in outcomes:
        assert len(set(keys(outcome.before))) == FLOOR.candidates
        assert set(keys(outcome.after)) < set(keys(outcome.before))
        assert len(outcome.after) == FLOOR.top_n
        cosines = [passage.score or 0.0 for passage in outcome.before]
        assert cosines == sorted(cosines, reverse=True)
        assert all(passage.text.strip() in outcome.prompt for passage in outcome.after)
        assert outcome.retrieval > 0
        assert outcome.reranking > 0
    assert any(keys(outcome.after) != keys(outcome.before)[: FLOOR.top_n] for outcome in outcomes)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_floor_helps_somewhere_and_not_everywhere(pipeline: Kind) -> None:
    """What the demo says of itself stays true: one question gets better, and the paraphrased one stays lost."""
    firsts = [
        tuple(
            tables.place([passage.topic in question.answered_by for passage in side])
            for side in (outcome.before, outcome.after)
        )
        for question, outcome in zip(QUESTIONS, floor(pipeline), strict=True)
    ]
    assert (3, 2) in firsts
    assert firsts[-1] == (None, None)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_order_is_the_providers(pipeline: Kind, reversing: Loopback) -> None:
    with Reranker("cohere/any") as reranker:
        made = pipeline(lsa(), reranker, Setting("cohere/any", top_n=4, candidates=10))
        outcome = made.ask(QUESTIONS[0].text)
    assert keys(outcome.after) == keys(outcome.before)[:-5:-1]
    (hit,) = reversing.hits
    assert hit.json["query"] == QUESTIONS[0].text
    assert [" ".join(text.split()) for text in hit.documents] == [
        " ".join(passage.text.split()) for passage in outcome.before
    ]


def test_the_demo_shows_both_frameworks_and_every_question() -> None:
    result = printed()
    assert (result.exit_code, result.stderr) == (0, "")
    langchain, llama_index = result.stdout.index("LangChain  InMemory"), result.stdout.index("LlamaIndex  VectorStore")
    for part in (result.stdout[langchain:llama_index], result.stdout[llama_index:]):
        assert all(question.text in part for question in QUESTIONS)
        assert "↑" in part
        assert "better" in part
        assert "no ● among the 20 candidates" in part
    assert "a floor to start from" in result.stdout
    assert re.search(r"LangChain +\d+\.\d\d s +\d+\.\d ms +\d+\.\d ms", result.stdout)
    assert re.search(r"LlamaIndex +\d+\.\d\d s +\d+\.\d ms +\d+\.\d ms", result.stdout)


def test_the_demo_is_plain_text_of_one_width_where_there_is_no_terminal() -> None:
    lines = printed().stdout.splitlines()
    assert "\x1b" not in printed().stdout
    assert max(map(len, lines)) <= 140
    assert sum(line.startswith("─") and len(line) == 140 for line in lines) == 2 * len(QUESTIONS)


def test_a_process_of_its_own_neither_warns_nor_connects() -> None:
    code = (
        "import socket, sys\n"
        "def connect(*_): raise AssertionError('the demo went to the network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = connect\n"
        "sys.argv = ['anyrerank', 'demo']\n"
        "from anyrerank.__main__ import main\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "default"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=environment, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "a floor to start from" in done.stdout


def test_options_choose_what_is_run() -> None:
    arguments = ["demo", "--framework", "langchain", "--top-n", "2", "-k", "3"]
    asked = ["--question", "How is yield used?", "--question", "What is a lambda?"]
    shown = CliRunner(env={"COLUMNS": "60"}).invoke(app, [*arguments, *asked]).stdout
    assert "LlamaIndex" not in shown
    assert "the best 2 of 3 candidates" in shown
    assert "2. What is a lambda?" in shown
    assert "●" not in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_the_demo_through_a_provider_shows_its_order(reversing: Loopback) -> None:
    result = CliRunner().invoke(app, ["demo", "--model", "cohere/any", "--top-n", "3", "-k", "9"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(reversing.hits) == 2 * len(QUESTIONS)
    assert {hit.headers["authorization"] for hit in reversing.hits} == {f"Bearer {KEY}"}
    moves = re.findall(r"^ +[123] .* ([↑↓=] \d+) ", result.stdout, re.MULTILINE)
    assert moves == ["↑ 9", "↑ 8", "↑ 7"] * (2 * len(QUESTIONS))
    assert "floor" not in result.stdout


@pytest.mark.parametrize(
    ("model", "problem"), [("cohere/any", "COHERE_API_KEY"), ("nvidia_nim/any", "NVIDIA_NIM_API_KEY")]
)
def test_a_missing_key_is_one_line(model: str, problem: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--model", model])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert problem in result.stderr


def test_what_the_provider_refuses_is_one_line(reversing: Loopback) -> None:
    reversing.script = lambda line: line.answer(401, {"message": "no"})
    result = CliRunner().invoke(app, ["demo", "--model", "cohere/any", "--framework", "llama-index"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "401" in result.stderr


def test_a_question_that_cannot_be_placed_is_one_line() -> None:
    result = CliRunner().invoke(app, ["demo", "--question", "Why xyzzy?"])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    ("missing", "module"),
    [("sklearn.decomposition", "embedding"), ("langchain_core.vectorstores", "in_langchain")],
)
def test_without_its_extra_the_demo_says_how_to_install_it(
    missing: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("show", module):
        monkeypatch.delitem(sys.modules, f"anyrerank.demo.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    result = CliRunner().invoke(app, ["demo"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "pip install 'anyrerank[demo]'" in result.stderr


def drawn(width: int, marks: tables.Signs, question: Question) -> str:
    before = tuple(Ranked(str(place), f"topic-{place}", f"text {place}", 1 - place / 10) for place in range(6))
    outcome = Outcome(before, (before[4], before[1], before[0]), "the prompt", 0.001, 0.002)
    console = Console(width=width, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(tables.Answered(1, question, outcome, Setting("a/model", 3, 6), marks))
    return captured.get()


def test_moves_are_arrows_with_the_earlier_rank() -> None:
    assert re.findall(r"[↑↓=] \d", drawn(120, tables.UNICODE, Question("?"))) == ["↑ 5", "= 2", "↓ 1"]


def test_a_console_without_unicode_gets_ascii() -> None:
    shown = drawn(120, tables.ASCII, Question("?", frozenset({"topic-0"})))
    assert re.findall(r"[\^v=] \d", shown)[:3] == ["^ 5", "= 2", "v 1"]
    assert "●" not in shown


def test_a_narrow_terminal_gets_the_passages_of_one_side() -> None:
    assert drawn(120, tables.UNICODE, Question("?")).count("passage") == 2
    narrow = drawn(80, tables.UNICODE, Question("?"))
    assert narrow.count("passage") == 1
    assert max(map(len, narrow.splitlines())) <= 80


@pytest.mark.parametrize(
    ("topic", "verdict"),
    [
        ("topic-4", "moves from rank 5 to rank 1: better"),
        ("topic-0", "moves from rank 1 to rank 3: worse, the reranker loses here"),
        ("topic-1", "stays at rank 2"),
        ("topic-3", "moves from rank 4 below the first 3: worse"),
        ("elsewhere", "no ● among the 6 candidates"),
    ],
)
def test_the_verdict_says_who_wins(topic: str, verdict: str) -> None:
    assert verdict in drawn(120, tables.UNICODE, Question("?", frozenset({topic})))
