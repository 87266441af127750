"""The command line, in this process and in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY
from tests.support.ledger_worker import NOON, call, tried
from tests.support.loopback import Loopback
from typer.testing import CliRunner, Result

import anyrerank
from anyrerank import __main__
from anyrerank.cli.commands import app, documents_in
from anyrerank.errors import BadRequestError
from anyrerank.ledger import Ledger

LINES = "\n".join(DOCUMENTS) + "\n"
JSON_LINES = "\n".join(json.dumps({"text": text, "place": place}) for place, text in enumerate(DOCUMENTS))
RERANK = ["rerank", "--model", "local/lexical", "--query", QUERY]


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def run_process(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "anyrerank", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(  # noqa: S603
        command, input=stdin, capture_output=True, encoding="utf-8", env=environment, timeout=120, check=False
    )


def one_line(result: Result) -> str:
    """The error of a command that failed as a user should see it: one line, nothing else, no traceback."""
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"anyrerank {anyrerank.__version__}\n"


def test_without_a_command_it_says_which_there_are() -> None:
    shown = run().output
    assert "demo" in shown
    assert "rerank" in shown


@pytest.mark.parametrize("command", ["demo", "rerank"])
def test_every_command_explains_its_options(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--model" in result.stdout


def test_lines_are_ranked_and_shown_as_a_table() -> None:
    result = run(*RERANK, stdin=LINES)
    assert result.exit_code == 0
    head, columns, best, *rest = result.stdout.splitlines()
    assert head.startswith("local/lexical · 3 results")
    assert columns.split() == ["rank", "score", "input", "document"]
    assert best.endswith(f"1  {DOCUMENTS[1]}")
    assert len(rest) == 2


def test_the_table_is_the_responses_own() -> None:
    shown = run(*RERANK, "--top-n", "2", stdin=LINES).stdout.splitlines()
    response = anyrerank.rerank("local/lexical", QUERY, DOCUMENTS, top_n=2)
    assert shown[1:] == str(response).splitlines()[1:]


def test_json_is_coheres() -> None:
    answer = json.loads(run(*RERANK, "--json", "--top-n", "2", stdin=LINES).stdout)
    expected = anyrerank.rerank("local/lexical", QUERY, DOCUMENTS, top_n=2).to_cohere()
    assert {**answer, "id": None} == {**expected, "id": None}


def test_json_lines_keep_their_fields() -> None:
    answer = json.loads(run(*RERANK, "--json", stdin=JSON_LINES).stdout)
    assert answer["results"][0]["document"] == {"text": DOCUMENTS[1], "place": 1}
    assert all(row["document"]["place"] == row["index"] for row in answer["results"])


@pytest.mark.parametrize("content", [LINES, JSON_LINES])
def test_a_file_is_read_like_standard_input(tmp_path: Path, content: str) -> None:
    file = tmp_path / "documents"
    file.write_text(content, encoding="utf-8")
    from_file = json.loads(run(*RERANK, "--json", str(file)).stdout)
    from_stdin = json.loads(run(*RERANK, "--json", "-", stdin=content).stdout)
    assert from_file["results"] == from_stdin["results"]


def test_documents_beyond_ascii_survive() -> None:
    answer = json.loads(
        run("rerank", "--model", "local/lexical", "--query", "été", "--json", stdin="l'été 🌞\n").stdout
    )
    assert answer["results"][0]["document"]["text"] == "l'été 🌞"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n \n", []),
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"one\n\nthree\n\n\n", ["one", "", "three"]),  # an index is the number of a line
        ("\ufeffone".encode(), ["one"]),
        ("a\u2028b\x0cc".encode(), ["a\u2028b\x0cc"]),
        (b'{"text": "one"}\n\n{"text": "three"}', [{"text": "one"}, "", {"text": "three"}]),
        (b'\n{"text": "two"}', ["", {"text": "two"}]),
        (b"{not json}\n[1]", ["{not json}", "[1]"]),
        (b'[1]\n{"text": "two"}', ["[1]", '{"text": "two"}']),
    ],
)
def test_what_a_file_holds(content: bytes, expected: list[object]) -> None:
    assert documents_in(content) == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"text": "one"}\ntwo', "line 2 is not a JSON object"),
        (b'{"title": "one"}', "line 1 is not a JSON object with a 'text'"),
        (b'{"text": 1}', "line 1 is not a JSON object with a 'text'"),
        (b"caf\xe9", "not UTF-8: byte 3"),
        (b"[" * 200_000, "line 1 is JSON that is nested too deeply"),
        (b'\n{"text": "one"}\n{"text": "two", "more": ' + b"[" * 200_000, "line 3 is JSON that is nested too deeply"),
    ],
)
def test_what_a_file_must_not_hold(content: bytes, problem: str) -> None:
    with pytest.raises(BadRequestError, match=problem):
        documents_in(content)
    assert problem in one_line(run(*RERANK, stdin=content))


def test_no_documents_give_no_results() -> None:
    assert json.loads(run(*RERANK, "--json", stdin="").stdout)["results"] == []


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert "cannot be read" in one_line(run(*RERANK, str(tmp_path / "missing")))


@pytest.mark.parametrize(
    ("model", "query", "problem"),
    [
        ("local/lexical", " ", "blank"),
        ("lexical", QUERY, "names no provider"),
        ("nobody/model", QUERY, "unknown provider"),
        ("local/other", QUERY, "local/lexical"),
        ("cohere/rerank-v3.5", QUERY, "COHERE_API_KEY"),
        ("nvidia_nim/any", QUERY, "NVIDIA_NIM_API_KEY"),
    ],
)
def test_what_cannot_be_ranked_is_one_line(model: str, query: str, problem: str) -> None:
    assert problem in one_line(run("rerank", "--model", model, "--query", query, stdin=LINES))


def test_top_n_is_at_least_1() -> None:
    assert run(*RERANK, "--top-n", "0", stdin=LINES).exit_code == 2


def test_a_provider_is_called_with_its_key_from_the_environment(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("COHERE_API_BASE", server.url)
    documents = ["number 7", "number 2", "number 4"]
    result = run("rerank", "--model", "cohere/any", "--query", QUERY, "--json", stdin="\n".join(documents))
    assert [row["index"] for row in json.loads(result.stdout)["results"]] == [1, 2, 0]
    (hit,) = server.hits
    assert hit.headers["authorization"] == f"Bearer {KEY}"
    assert hit.documents == documents


def test_a_refused_key_is_one_line_without_the_key(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    monkeypatch.setenv("COHERE_API_BASE", server.url)
    server.script = lambda line: line.answer(401, {"message": "no"})
    shown = one_line(run("rerank", "--model", "cohere/any", "--query", QUERY, stdin=LINES))
    assert "401" in shown
    assert KEY not in shown


def test_a_process_of_its_own_ranks_too() -> None:
    done = run_process(*RERANK, "--json", "--top-n", "1", stdin=LINES)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["index"] for row in json.loads(done.stdout)["results"]] == [1]


def test_a_process_of_its_own_fails_in_one_line() -> None:
    done = run_process("rerank", "--model", "cohere/any", "--query", QUERY, stdin=LINES)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "COHERE_API_KEY" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["providers"], ["providers", "--json"], [*RERANK, "-"]], ids=" ".join
)
def test_output_that_cannot_be_written_is_one_line(arguments: list[str]) -> None:
    command = [sys.executable, "-W", "error", "-m", "anyrerank", *arguments]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(  # noqa: S603
            command, env=buffered, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"error: the output: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such shell")
def test_a_closed_input_is_one_line() -> None:
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "anyrerank", *RERANK],
        capture_output=True,
        check=False,
    )
    problem = b"error: there is no standard input to read documents from: name a file\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", problem)


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    evil = "evil \x1b]0;x\x07\x1b[2J \x9b2J \x7f document\nsecond"
    result = run(*RERANK, stdin=evil)
    assert "evil \ufffd]0;x\ufffd\ufffd[2J \ufffd2J \ufffd document" in result.stdout
    assert len(result.stdout.splitlines()) == 4
    assert "\ufffdevil" in one_line(run("rerank", "--model", "\x07evil", "--query", QUERY, stdin=LINES))


def test_the_command_line_imports_no_framework() -> None:
    code = (
        "import sys, anyrerank.cli\n"
        "heavy = 'langchain_core', 'llama_index', 'sklearn', 'anyrerank.demo'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "[]\n"


@pytest.fixture
def spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger of four calls, the cost of one of which is not known; and room for it."""
    monkeypatch.setenv("COLUMNS", "200")
    db = str(tmp_path / "spend.db")
    with Ledger(db) as ledger:
        ledger(call("ann", [tried(cost=0.5)], metadata={"tags": ["rag", "beta"]}))
        ledger(call("ann", [tried("voyage/rerank-2", cost=1.25)], started=NOON + 86_400, model_group="best"))
        ledger(call("bob|eve", [tried(cost=None)]))
        ledger(call(None, [tried(cost=0.25)]))
    return db


def cells(result: Result) -> list[list[str]]:
    """The words of each line of the table, without those that are drawn."""
    assert result.exit_code == 0
    return [line.split() for line in result.stdout.partition("\n\n")[0].splitlines() if line.strip(" ─")]


def test_spending_is_shown_with_the_dearest_first(spent: str) -> None:
    result = run("spend", "--db", spent, "--by", "user")
    head, *rows, total = cells(result)[:5]
    assert head[:3] == ["user", "calls", "requests"]
    assert [(row[0], row[1], row[-2]) for row in rows] == [
        ("ann", "2", "$1.750000"),
        ("(none)", "1", "$0.250000"),
        ("bob|eve", "1", "unknown+"),
    ]
    assert (total[0], total[1], total[-2]) == ("total", "4", "$2.000000+")
    assert "+ the cost of 1 of the calls is not known, and not in here" in result.stdout


def test_spending_is_shown_by_user_and_model_unless_said_otherwise(spent: str) -> None:
    head, first, *_ = cells(run("spend", "--db", spent))
    assert head[:2] == ["user", "model"]
    assert first[:3] == ["ann", "best", "1"]


@pytest.mark.parametrize(
    ("limits", "calls"),
    [
        (["--user", "ann"], 2),
        (["--tag", "rag"], 1),
        (["--model", "best"], 1),
        (["--since", "2026-11-02"], 1),
        (["--until", "2026-11-01"], 3),
        (["--since", "2026-11-01", "--until", "2026-11-02"], 4),
        (["--user", "nobody"], 0),
    ],
)
def test_spending_of_some_calls(spent: str, limits: list[str], calls: int) -> None:
    answer = json.loads(run("spend", "--db", spent, "--by", "day", "--json", *limits).stdout)
    assert answer["total"]["calls"] == calls
    assert sum(each["calls"] for each in answer["spend"]) == calls


def test_spending_as_json_has_null_for_what_is_not_known(spent: str) -> None:
    answer = json.loads(run("spend", "--db", spent, "--by", "user", "--json").stdout)
    assert [(each["group"], each["cost"], each["unknown"]) for each in answer["spend"]] == [
        ({"user": "ann"}, 1.75, 0),
        ({"user": None}, 0.25, 0),
        ({"user": "bob|eve"}, None, 1),
    ]
    assert (answer["total"]["cost"], answer["total"]["unknown"]) == (2.0, 1)


def test_spending_as_markdown(spent: str) -> None:
    shown = run("spend", "--db", spent, "--by", "tag", "--by", "user", "--markdown").stdout.splitlines()
    assert shown[0].startswith("| tag | user | calls |")
    assert shown[2].startswith("| (none) | ann | 1 |")
    assert any(line.startswith("| (none) | bob\\|eve | 1 |") for line in shown)
    assert any(line.startswith("| total |  | 4 |") for line in shown)
    assert shown[-1] == "a call with several tags is in the line of each, and once in the total"


@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_what_a_terminal_would_obey_is_in_no_table_of_spending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    db = str(tmp_path / "spend.db")
    with Ledger(db) as ledger:
        ledger(call("ann\x1b[2J\nbob", [tried(cost=0.5)], metadata={"tags": ["a\x07\tb"]}))
    shown = run("spend", "--db", db, "--by", "user", "--by", "tag", *form).stdout
    (line,) = [each for each in shown.splitlines() if "ann" in each]
    assert "ann\ufffd[2J\ufffdbob" in line
    assert "a\ufffd\ufffdb" in line
    assert not [each for each in ("\x1b", "\x07", "\t") if each in shown]
    kept = json.loads(run("spend", "--db", db, "--by", "user", "--json").stdout)
    assert kept["spend"][0]["group"] == {"user": "ann\x1b[2J\nbob"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--db", "missing.db"], "there is no ledger"),
        (["--db", "missing/spend.db"], "the folder of the ledger"),
        (["--db", "other.db"], "other.db holds no ledger"),
        (["--db", "nosuch://user:pass-Word-1@host/name"], "nosuch is no database"),
        (["--db", "other.db", "--by", "mode"], "there is no spending by 'mode', but by user, model"),
        (["--since", "yesterday"], "--since is a day such as 2026-11-01"),
        (["--since", "2026-02-30"], "--since is a day such as 2026-11-01"),
        (["--since", "20261101"], "--since is a day such as 2026-11-01"),
        (["--since", "2026-W45-1"], "--since is a day such as 2026-11-01"),
        (["--until", "9999-12-31"], "--until is a day such as 2026-11-01"),
        (["--user", "\udcff"], "--user is not UTF-8"),
        (["--tag", "\udcff"], "--tag is not UTF-8"),
        (["--model", "\udcff"], "--model is not UTF-8"),
    ],
)
def test_spending_that_cannot_be_shown_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.db").touch()
    shown = one_line(run("spend", *arguments))
    assert problem in shown
    assert "pass-Word-1" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]
    assert (tmp_path / "other.db").stat().st_size == 0


def test_the_command_line_needs_no_ledger() -> None:
    code = "import sys, anyrerank.cli; print([name for name in sys.modules if name.startswith('sqlalchemy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_it_says_how_to_install_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for loaded in [name for name in sys.modules if name.startswith("anyrerank.cli")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.delitem(sys.modules, "rich.console", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as stopped:
        __main__.main()
    shown = capsys.readouterr()
    assert (stopped.value.code, shown.out) == (1, "")
    assert "pip install 'anyrerank[cli]'" in shown.err
    assert shown.err.count("\n") == 1
