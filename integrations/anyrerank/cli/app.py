"""The command line: `anyrerank demo`, `rerank`, `compare`, `providers` and `spend`.

Needs `pip install 'anyrerank[cli]'`. The frameworks are imported by the demo alone, and only when it runs.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from datetime import date
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

import anyrerank
from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError, RerankError

if TYPE_CHECKING:
    from anyrerank.catalog import Card
    from anyrerank.evaluation import Dataset, Report
    from anyrerank.ledger.store import Spend


class _Commands(TyperGroup):
    """The commands, which say in one line that their output cannot be written, be it only the help."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            _close_if_broken()
            _say(f"{error.filename or 'the output'}: {error.strerror or type(error).__name__}")
            sys.exit(1)


# Locals in a traceback may hold a key.
app = typer.Typer(
    cls=_Commands,
    help="Rerank documents through any provider.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_PLAIN_WIDTH = 140
_LEAST_PLAIN_WIDTH = 100
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Model = Annotated[str, typer.Option(help="provider/model; its key comes from the environment.")]


class Framework(str, Enum):
    """Where the demo runs."""

    both = "both"
    langchain = "langchain"
    llama_index = "llama-index"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anyrerank {anyrerank.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[  # shown by its callback, before a command is asked for
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    model: Model = "local/lexical",
    top_n: Annotated[int, typer.Option(min=1, help="Passages to keep.")] = 5,
    candidates: Annotated[
        int, typer.Option("--candidates", "-k", min=1, help="Passages that the first stage retrieves.")
    ] = 20,
    question: Annotated[
        list[str] | None, typer.Option(help="Ask this about Python instead; may be repeated.", show_default=False)
    ] = None,
    framework: Annotated[Framework, typer.Option(help="Where to run it.")] = Framework.both,
) -> None:
    """Show retrieved passages being reranked in LangChain and LlamaIndex."""
    with _errors_in_one_line():
        _demo(model, top_n, candidates, question or [], framework)


@app.command()
def rerank(
    model: Model,
    query: Annotated[str, typer.Option(help="What the documents should answer.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="UTF-8, one document a line, or one JSON object with a 'text' a line; by default standard input.",
            show_default=False,
        ),
    ] = None,
    top_n: Annotated[int | None, typer.Option(min=1, help="Results to show; by default all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print Cohere-shaped JSON.")] = False,
) -> None:
    """Rank documents by how well each answers a query.

    The index of a result is the number of its line, counted from 0.
    """
    with _errors_in_one_line():
        with anyrerank.Reranker(model, top_n=top_n) as reranker:
            response = reranker.rerank(query, documents_in(_read(file)))
        typer.echo(_as_json(response.to_cohere()) if as_json else _without_controls(str(response)))


@app.command()
def providers(
    prefix: Annotated[
        str | None, typer.Argument(help="Show all there is to know of this one.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Show the providers: their keys, settings, options, limits, and what their scores mean."""
    from anyrerank import catalog
    from anyrerank.providers import load

    with _errors_in_one_line():
        shown = catalog.cards() if prefix is None else (catalog.card(load(prefix)),)
        if as_json:
            typer.echo(_as_json([asdict(each) for each in shown]))
        elif as_markdown:
            typer.echo(catalog.markdown(shown), nl=False)
        elif prefix is None:
            _console().print(_table(catalog.HEAD, map(catalog.cells, shown)))
        else:
            _console().print(_details(shown[0]))


@app.command()
def spend(
    *,
    db: Annotated[str, typer.Option(help="The ledger: path of its SQLite file, or its URL.")] = "spend.db",
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="user, model, deployment, tag, day or provider; may be repeated. By default user and model.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(help="First day (of UTC), YYYY-MM-DD.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(help="Last day.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option(help="Only what this end user spent.", show_default=False)] = None,
    tag: Annotated[str | None, typer.Option(help="Only calls with this tag.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Only calls of this model.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Show what was spent, as a Ledger among the hooks wrote it down; the most expensive first.

    Calls of the last second may still be on their way to the database, and those of a process that was killed until
    another ledger writes.
    """
    with _errors_in_one_line():
        from anyrerank.ledger import table
        from anyrerank.ledger.store import Filter, Store, checked

        groups = checked(by or ("user", "model"))
        for option, text in (("--user", user), ("--tag", tag), ("--model", model)):
            _check_text(option, text)
        which = Filter(since=_day("--since", since), until=_day("--until", until), user=user, tag=tag, model=model)
        with closing(Store(db, create=False)) as store:
            found, (total,) = store.spend(groups, which), store.spend((), which)
        if as_json:
            typer.echo(_as_json(table.as_json(found, total)))
            return
        found = [_printable(each) for each in found]
        if as_markdown:
            typer.echo(table.markdown(groups, found, total), nl=False)
        else:
            console = _console()
            console.print(_table(table.head(groups), table.lines(groups, found, total)))
            for remark in table.remarks(groups, total):
                console.print(Text(remark))


@app.command()
def compare(
    *,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="provider/model, or name=provider/model.")],
    data: Annotated[
        str, typer.Option(help="A folder in BEIR's form, or 'demo' for the small set that ships.")
    ] = "demo",
    split: Annotated[
        str | None, typer.Option(help="Which of the folder's qrels; by default test.", show_default=False)
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Candidates: a run in TREC's form. By default found by words.", show_default=False),
    ] = None,
    candidates: Annotated[int, typer.Option("--candidates", "-n", min=1, help="Candidates of each query.")] = 30,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results count.")] = 10,
    baseline: Annotated[str, typer.Option(help="What the others are compared with.")] = "first_stage",
    budget: Annotated[float | None, typer.Option(help="US dollars that may be spent.", show_default=False)] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Hand candidates over in an order of chance.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="A file that keeps outcomes, so that the next time is free.", show_default=False)
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write the report to this file, too.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, raw rankings included.")] = False,
) -> None:
    """Compare rerankers on labelled queries: quality, latency, price. Says what it costs before it asks."""
    with _errors_in_one_line():
        if page is not None:
            _check_writable(page)
        report = _compared(
            _named(models),
            _labelled(data, split, run, candidates),
            k=k,
            baseline=baseline,
            budget_usd=budget,
            shuffle=shuffle,
            cache=cache,
        )
        typer.echo(report.to_json() if as_json else _without_controls(str(report)))
        if page is not None:
            report.to_html(page)


def _named(models: Sequence[str]) -> dict[str, str]:
    """Model strings by name: what stands before `=`, or the model itself."""
    pairs = [model.partition("=") for model in models]
    named = {name if equals else model: rest or name for model, (name, equals, rest) in zip(models, pairs, strict=True)}
    if len(named) < len(models):
        raise BadRequestError("two models have the same name: write name=provider/model")
    return named


def _labelled(data: str, split: str | None, run: Path | None, candidates: int) -> Dataset:
    from anyrerank.evaluation import demo_set, from_beir, read_run

    if data == "demo":
        if split is not None or run is not None:
            raise BadRequestError("--split and --run go with a folder that --data names, not with the demo set")
        return demo_set(candidates=candidates)
    found = from_beir(data, split=split or "test")
    if run is None:
        return found.retrieved(candidates)
    listed = {query: documents[:candidates] for query, documents in read_run(run).items()}
    return replace(found, candidates={query: listed.get(query, ()) for query in found.queries})


def _compared(models: Mapping[str, str], data: Dataset, *, cache: Path | None, **options: Any) -> Report:
    from anyrerank.evaluation import compare

    kept = nullcontext() if cache is None else anyrerank.SQLiteCache(cache, ttl=None)
    with kept as opened:
        bar = sys.stderr.isatty() and find_spec("tqdm") is not None
        return compare(models, data, cache=opened, progress=bar, announce=_announce, **options)


def _announce(line: str) -> None:
    typer.echo(_without_controls(line), err=True)


def _check_writable(file: Path) -> None:
    """Find out now, rather than when every call is paid for."""
    try:
        is_new = not file.exists()
        file.open("ab").close()
        if is_new:
            file.resolve().unlink()
    except OSError as error:
        raise BadRequestError(f"{file} cannot be written: {error.strerror}") from None


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    # the last day there is has no next one, before which its calls would be; Python reads other forms, in some versions
    if _DAY.fullmatch(text) and text != date.max.isoformat():
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise BadRequestError(f"{option} is a day such as 2026-11-01")


def _check_text(option: str, text: str | None) -> None:
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise BadRequestError(f"{option} is not UTF-8") from None


def _printable(spend: Spend) -> Spend:
    group = {name: value and _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value) for name, value in spend.group.items()}
    return replace(spend, group=group)


def _without_controls(text: str) -> str:
    """`text` with nothing that a terminal would obey but the ends of its lines."""
    return "\n".join(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", line) for line in text.split("\n"))


def documents_in(content: bytes) -> list[Document]:
    """The documents in a file: JSON objects if its first line that is not blank is one, else lines.

    Raises:
        BadRequestError: It is not UTF-8, or a line of a JSON file is not an object with a `text`, or one is nested too
            deeply to be read.
    """
    try:
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise BadRequestError(f"the documents are not UTF-8: byte {error.start} cannot be read") from None
    if lines == [""]:
        return []
    if _object(*next((line, number) for number, line in enumerate(lines, start=1) if line.strip())) is None:
        return list(lines)
    return [_with_text(line, number) for number, line in enumerate(lines, start=1)]


def _with_text(line: str, number: int) -> Document:
    if not line.strip():
        return ""
    found = _object(line, number)
    if found is None or not isinstance(found.get("text"), str):
        raise BadRequestError(f"line {number} is not a JSON object with a 'text', though the first one is JSON")
    return found


def _object(line: str, number: int) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    except RecursionError:
        raise BadRequestError(f"line {number} is JSON that is nested too deeply to be read") from None
    return found if isinstance(found, dict) else None


def _read(file: Path | None) -> bytes:
    if file is not None and file != Path("-"):
        try:
            return file.read_bytes()
        except OSError as error:
            raise BadRequestError(f"{file} cannot be read: {error.strerror}") from None
    if sys.stdin is None:
        raise BadRequestError("there is no standard input to read documents from: name a file")
    if sys.stdin.isatty():
        typer.echo("reading documents, one a line, until end of file", err=True)
    return sys.stdin.buffer.read()


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    for name in head:
        table.add_column(name, no_wrap=name in ("model", "key", "options", "extra"), min_width=10, overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def _details(shown: Card) -> Table:
    """A card with a line for each thing that is known."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in asdict(shown).items():
        if name != "settings" and value not in (None, ()):
            table.add_row(name, Text(", ".join(value) if isinstance(value, tuple) else str(value)))
    for name, setting in shown.settings.items():
        variables = f" ({', '.join(setting.variables)})" if setting.variables else ""
        table.add_row(name, Text(setting.about + variables))
    return table


def _as_json(answer: object) -> str:
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(answer, indent=2, ensure_ascii=not utf8)


def _demo(model: str, top_n: int, candidates: int, asked: Sequence[str], framework: Framework) -> None:
    from anyrerank.demo.outcome import Setting
    from anyrerank.demo.questions import QUESTIONS, Question
    from anyrerank.demo.show import FRAMEWORKS, show

    questions = [Question(text) for text in asked] or QUESTIONS
    frameworks = list(FRAMEWORKS) if framework is Framework.both else [framework.value]
    show(_console(), Setting(model, top_n, candidates), questions, frameworks)


def _console() -> Console:
    """A console as wide as the terminal; elsewhere wide enough for two lists side by side."""
    console = Console(highlight=False)
    if not console.is_terminal:
        asked = os.environ.get("COLUMNS", "")
        console.width = max(int(asked), _LEAST_PLAIN_WIDTH) if asked.isdecimal() else _PLAIN_WIDTH
    return console


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except RerankError as error:
        _say(str(error))
        raise typer.Exit(1) from None


def _say(problem: str) -> None:
    typer.echo(f"error: {_without_controls(' '.join(problem.split()))}", err=True)


def _close_if_broken() -> None:
    """Close standard output if it takes nothing: what it holds would be tried again at exit, and fail with a trace."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()
