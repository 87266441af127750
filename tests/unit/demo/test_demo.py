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
from anyrerank._core.types import Document, text_of
from anyrerank.cli import app
from anyrerank.demo import ALL_QUESTIONS, QUESTIONS, Lsa, Question, Settings, passages, tables, train_embedding
from anyrerank.demo.corpus import VERSION, WORDS, paragraphs, topics
from anyrerank.demo.embedding import DIMENSIONS
from anyrerank.demo.in_langchain import LangChainPipeline
from anyrerank.demo.in_llama_index import LlamaIndexPipeline, nodes
from anyrerank.demo.pipeline import Outcome, Pipeline, Ranked
from anyrerank.errors import BadRequestError
from anyrerank.evaluation import demo_set

PipelineClass: TypeAlias = Callable[[Lsa, Reranker, Settings], Pipeline]
PIPELINES: tuple[PipelineClass, ...] = (LangChainPipeline, LlamaIndexPipeline)
LEXICAL = Settings("local/lexical")


def lsa() -> Lsa:
    return train_embedding()[0]


@cache
def lexical_outcomes(pipeline: PipelineClass) -> list[Outcome]:
    return [ask(pipeline, question) for question in QUESTIONS]


@cache
def default_output() -> Result:
    """The demo as it runs without arguments."""
    return CliRunner().invoke(app, ["demo"], env={"COLUMNS": None})


@cache
def made(pipeline: PipelineClass) -> Pipeline:
    return pipeline(lsa(), Reranker(LEXICAL.model), LEXICAL)


def ask(pipeline: PipelineClass, question: Question) -> Outcome:
    return made(pipeline).ask(question.text)


def first_ranks(question: Question, outcome: Outcome) -> tuple[int | None, int | None]:
    """The rank of the first answer before and after reranking."""
    before, after = (
        tables.first_rank([passage.topic in question.answered_by for passage in ranking])
        for ranking in (outcome.before, outcome.after)
    )
    return before, after


def excerpt(document: Document) -> str:
    """The middle of an excerpt, without white space: its ends may lie in drawn lines."""
    text = "".join(text_of(document, None).partition("\n")[2].split())
    return text[len(text) // 3 : 2 * len(text) // 3]


def ids(ranking: tuple[Ranked, ...]) -> list[str]:
    return [passage.id for passage in ranking]


def last_first(line: Line) -> None:
    """Answer with the last candidate first."""
    count = len(line.hit.documents)
    rows = [{"index": count - 1 - rank, "relevance_score": 1 - rank / count} for rank in range(count)]
    line.answer(body={"id": "reversed", "results": rows[: line.hit.json.get("top_n")]})


@pytest.fixture
def reversing(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("COHERE_API_BASE", server.url)
    server.script = last_first
    return server


# Text and embedding


def test_topics_are_frozen_with_their_licence() -> None:
    data = files("anyrerank.demo") / "data"
    assert len(topics()) == 76
    assert 300_000 < sum(map(len, topics().values())) < 450_000
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in (data / "LICENSE.txt").read_text(encoding="utf-8")
    assert f"{VERSION}." in (data / "README.md").read_text(encoding="utf-8")


def test_passages_contain_the_whole_text() -> None:
    assert max(len(passage.text.split()) for passage in passages()) <= WORDS
    words: dict[str, list[str]] = {}
    for passage in passages():
        words.setdefault(passage.topic, []).extend(passage.text.split())
    assert words == {topic: text.split() for topic, text in topics().items()}


def test_paragraphs_joined_give_the_text() -> None:
    text = "one\ntwo\n\n  three\n \n\nfour"
    assert paragraphs(text) == ["one\ntwo\n\n", "  three\n \n\n", "four"]


def test_nodes_contain_the_whole_text() -> None:
    texts = [node.get_content() for node in nodes()]
    assert max(len(text.split()) for text in texts) <= WORDS
    assert "".join("".join(texts).split()) == "".join("".join(topics().values()).split())


def test_questions_are_answered_by_existing_topics() -> None:
    assert all(question.answered_by <= topics().keys() for question in QUESTIONS)


def test_lsa_gives_the_same_unit_vectors_every_time() -> None:
    texts = [passage.text for passage in passages()[:150]]
    first, second = Lsa(texts, dimensions=8), Lsa(texts, dimensions=8)
    assert first.vector(texts[3]) == second.vector(texts[3])
    assert sum(value**2 for value in first.vector(texts[3])) == pytest.approx(1)
    assert len(lsa().vector("What is a generator?")) == DIMENSIONS


def test_lsa_of_a_question_without_a_known_word_raises() -> None:
    with pytest.raises(BadRequestError, match="no word of the question"):
        lsa().vector("Why xyzzy?")


# Pipelines


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_pipeline_reranks_what_it_retrieves(pipeline: PipelineClass) -> None:
    outcomes = lexical_outcomes(pipeline)
    for outcome in outcomes:
        assert len(set(ids(outcome.before))) == LEXICAL.candidates
        assert set(ids(outcome.after)) < set(ids(outcome.before))
        assert len(outcome.after) == LEXICAL.top_n
        similarities = [passage.score or 0.0 for passage in outcome.before]
        assert similarities == sorted(similarities, reverse=True)
        assert all(passage.text.strip() in outcome.prompt for passage in outcome.after)
        assert outcome.retrieval_seconds > 0
        assert outcome.reranking_seconds > 0
    assert any(ids(outcome.after) != ids(outcome.before)[: LEXICAL.top_n] for outcome in outcomes)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_pipeline_with_local_lexical_helps_one_question_and_harms_one(pipeline: PipelineClass) -> None:
    ranks = [first_ranks(question, each) for question, each in zip(QUESTIONS, lexical_outcomes(pipeline), strict=True)]
    gains = [(1 / after if after else 0) - 1 / (before or 1) for before, after in ranks]
    assert [gain > 0 for gain in gains] == [False, False, True]
    assert gains[0] < 0 == gains[1]
    assert ranks[-1][1] == 4


def test_questions_are_the_queries_of_demo_v1_that_the_language_reference_answers() -> None:
    words = {topic: "".join(text.split()) for topic, text in topics().items()}
    data = demo_set()
    found = {}
    for query, text in data.queries.items():
        excerpts = [excerpt(data.documents[each]) for each, grade in data.labels.get(query, {}).items() if grade >= 2]
        sources = [{topic for topic in words if part in words[topic]} for part in excerpts]
        if sources and all(sources):
            found[query, text] = frozenset().union(*sources)
    assert {(each.id, each.text): each.answered_by for each in ALL_QUESTIONS} == found


def test_questions_shown_follow_their_rule() -> None:
    eligible = []
    for question in ALL_QUESTIONS:
        if any(lsa().vectors([question.text])[0]):
            before = [first_ranks(question, ask(pipeline, question))[0] for pipeline in PIPELINES]
            if None not in before and 1 not in before:
                eligible.append(question)
    paraphrased = [each for each in eligible if each.remark == "paraphrased"]
    others = [each for each in eligible if each.remark != "paraphrased"]
    assert [*others[:3], *paraphrased[:1]] == list(QUESTIONS)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_pipeline_with_a_provider_returns_its_order(pipeline: PipelineClass, reversing: Loopback) -> None:
    with Reranker("cohere/any") as reranker:
        made = pipeline(lsa(), reranker, Settings("cohere/any", top_n=4, candidates=10))
        outcome = made.ask(QUESTIONS[0].text)
    assert ids(outcome.after) == ids(outcome.before)[:-5:-1]
    (hit,) = reversing.hits
    assert hit.json["query"] == QUESTIONS[0].text
    assert [" ".join(text.split()) for text in hit.documents] == [
        " ".join(passage.text.split()) for passage in outcome.before
    ]


# The command


def test_demo_shows_both_frameworks_and_every_question() -> None:
    result = default_output()
    assert (result.exit_code, result.stderr) == (0, "")
    langchain, llama_index = result.stdout.index("LangChain  InMemory"), result.stdout.index("LlamaIndex  VectorStore")
    for part in (result.stdout[langchain:llama_index], result.stdout[llama_index:]):
        assert all(question.text in part for question in QUESTIONS)
        assert "↑" in part
        assert "better" in part
        assert re.search(r"over all 19 questions, RR@5 of the first answer goes from 0\.\d{3} to 0\.\d{3}", part)
        assert re.search(r"\d better, \d worse, \d+ the\s+same", part)
    assert "local/lexical is a baseline" in result.stdout
    assert re.search(r"LangChain +\d+\.\d\d s +\d+\.\d ms +\d+\.\d ms", result.stdout)
    assert re.search(r"LlamaIndex +\d+\.\d\d s +\d+\.\d ms +\d+\.\d ms", result.stdout)


def test_demo_without_a_terminal_prints_plain_text_of_one_width() -> None:
    lines = default_output().stdout.splitlines()
    assert "\x1b" not in default_output().stdout
    assert max(map(len, lines)) <= 140
    assert sum(line.startswith("─") and len(line) == 140 for line in lines) == 2 * len(QUESTIONS)


@pytest.mark.process
def test_demo_in_a_new_process_neither_warns_nor_connects() -> None:
    code = (
        "import socket, sys\n"
        "def connect(*_): raise AssertionError('the demo used the network')\n"
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
    assert "local/lexical is a baseline" in done.stdout


def test_demo_with_options_runs_what_they_choose() -> None:
    arguments = ["demo", "--framework", "langchain", "-k", "2", "-n", "3"]
    questions = ["--question", "How is yield used?", "--question", "What is a lambda?"]
    shown = CliRunner(env={"COLUMNS": "60"}).invoke(app, [*arguments, *questions]).stdout
    assert "LlamaIndex" not in shown
    assert "the best 2 of 3 candidates" in shown
    assert "2. What is a lambda?" in shown
    assert "●" not in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_demo_with_a_provider_shows_its_order(reversing: Loopback) -> None:
    result = CliRunner().invoke(app, ["demo", "--model", "cohere/any", "--top-n", "3", "-n", "9"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(reversing.hits) == 2 * len(QUESTIONS)
    assert {hit.headers["authorization"] for hit in reversing.hits} == {f"Bearer {KEY}"}
    moves = re.findall(r"^ +[123] .* ([↑↓=] \d+) ", result.stdout, re.MULTILINE)
    assert moves == ["↑ 9", "↑ 8", "↑ 7"] * (2 * len(QUESTIONS))
    assert "baseline" not in result.stdout


@pytest.mark.parametrize(
    ("model", "variable"), [("cohere/any", "COHERE_API_KEY"), ("nvidia_nim/any", "NVIDIA_NIM_API_KEY")]
)
def test_demo_without_a_key_prints_one_line(model: str, variable: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--model", model])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert variable in result.stderr


def test_demo_with_a_failing_provider_prints_one_line(reversing: Loopback) -> None:
    reversing.script = lambda line: line.answer(401, {"message": "no"})
    result = CliRunner().invoke(app, ["demo", "--model", "cohere/any", "--framework", "llama-index"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "401" in result.stderr


def test_demo_with_a_question_without_a_known_word_prints_one_line() -> None:
    result = CliRunner().invoke(app, ["demo", "--question", "Why xyzzy?"])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("missing", ["sklearn.decomposition", "langchain_core.vectorstores"])
def test_demo_without_its_extra_names_the_install_command(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [name for name in sys.modules if name.startswith("anyrerank.demo")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, missing, None)
    result = CliRunner().invoke(app, ["demo"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "pip install 'anyrerank[demo]'" in result.stderr


# Tables


def rendered(width: int, symbols: tables.Symbols, question: Question) -> str:
    before = tuple(Ranked(str(index), f"topic-{index}", f"text {index}", 1 - index / 10) for index in range(6))
    outcome = Outcome(before, (before[4], before[1], before[0]), "the prompt", 0.001, 0.002)
    console = Console(width=width, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(tables.Comparison(1, question, outcome, Settings("a/model", 3, 6), symbols))
    return captured.get()


def test_summary_has_the_mean_of_the_top_and_counts_changes_of_rank() -> None:
    text = tables.summary([(2, 1), (1, 1), (9, None), (None, None), (8, 4)], top_n=5).plain
    assert (
        "over all 5 questions, RR@5 of the first answer goes from 0.300 to 0.450: 2 better, 1 worse, 2 the same" in text
    )


def test_comparison_shows_moves_as_arrows_with_the_earlier_rank() -> None:
    assert re.findall(r"[↑↓=] \d", rendered(120, tables.UNICODE, Question("?"))) == ["↑ 5", "= 2", "↓ 1"]


def test_comparison_without_unicode_uses_ascii() -> None:
    shown = rendered(120, tables.ASCII, Question("?", frozenset({"topic-0"})))
    assert re.findall(r"[\^v=] \d", shown)[:3] == ["^ 5", "= 2", "v 1"]
    assert "●" not in shown


def test_comparison_in_a_narrow_terminal_shows_the_passages_of_one_side() -> None:
    assert rendered(120, tables.UNICODE, Question("?")).count("passage") == 2
    narrow = rendered(80, tables.UNICODE, Question("?"))
    assert narrow.count("passage") == 1
    assert max(map(len, narrow.splitlines())) <= 80


@pytest.mark.parametrize(
    ("topic", "verdict"),
    [
        ("topic-4", "moves from rank 5 to rank 1: better"),
        ("topic-0", "moves from rank 1 to rank 3: worse"),
        ("topic-1", "stays at rank 2"),
        ("topic-3", "moves from rank 4 out of the top 3: worse"),
        ("elsewhere", "no ● among the 6 candidates"),
    ],
)
def test_comparison_says_how_the_first_answer_moved(topic: str, verdict: str) -> None:
    assert verdict in rendered(120, tables.UNICODE, Question("?", frozenset({topic})))
