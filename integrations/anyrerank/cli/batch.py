"""`anyrerank batch`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import anyrerank
from anyrerank.cli.connection import ApiBase, ApiKey, MoreOptions, Timeout, connection
from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import as_json, without_control_characters
from anyrerank.errors import BadRequestError

if TYPE_CHECKING:
    from anyrerank._core.client import BaseReranker
    from anyrerank.batch import Estimate, Progress, Report, RunKeywords

_SHARD = re.compile(r"(\d+)/(\d+)")
_LINE_INTERVAL = 30.0
"""Seconds between two lines of progress where there is no terminal."""


def batch(
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT...", help="Files, folders or patterns: .jsonl or .parquet.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the output.", show_default=False)] = None,
    model: Annotated[
        str | None,
        typer.Option(help="provider/model, or a name of the router in --config.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A configuration file of LiteLLM's.", show_default=False)
    ] = None,
    query: Annotated[str, typer.Option(help="Name of the query in a row.")] = "query",
    documents: Annotated[
        str | None,
        typer.Option(help="Name of the candidates. Default: candidates or documents.", show_default=False),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="Columns to copy to the output: a,b. Default: id or custom_id.", show_default=False),
    ] = None,
    top_n: Annotated[
        int | None, typer.Option("--top-n", "-k", min=1, help="Number of results. Default: all.", show_default=False)
    ] = None,
    in_flight: Annotated[int, typer.Option(min=1, help="Maximum number of requests in flight.")] = 64,
    rpm: Annotated[
        float | None, typer.Option(help="Maximum number of requests per minute.", show_default=False)
    ] = None,
    tpm: Annotated[float | None, typer.Option(help="Maximum number of tokens per minute.", show_default=False)] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            metavar="REDIS_URL",
            help="Redis, in which all jobs for this model share --rpm and --tpm: redis://..., os.environ/NAME.",
            show_default=False,
        ),
    ] = None,
    max_wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a server that is down or limits the rate.")
    ] = 3600.0,
    budget: Annotated[
        float | None, typer.Option(help="Maximum cost of the whole job in US dollars.", show_default=False)
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Do every n-th chunk only, beginning at chunk i (from 0).")
    ] = "0/1",
    chunk_rows: Annotated[int, typer.Option(min=1, help="Rows in each file of the output.")] = 5000,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Ask again for the rows that failed in earlier runs.")
    ] = False,
    via: Annotated[
        Literal["requests", "batch-api"], typer.Option(help="batch-api: Voyage's Batch API, cheaper and within hours.")
    ] = "requests",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Print what the rest will take, and send nothing.")
    ] = False,
    status: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Print how far the job in a folder is, and do nothing.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")] = False,
    api_base: ApiBase = None,
    api_key: ApiKey = None,
    timeout: Timeout = None,
    option: MoreOptions = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Rerank files with millions of rows, and continue where an earlier run ended.

    Rows, requests, cost and duration are printed before anything is sent. Run the same command again after a kill:
    no answered row is paid for twice.

    Status: 0 all rows answered, 3 some rows failed, 4 stopped before the end (run it again), 2 not started.
    """
    with one_line_errors(2):
        from anyrerank import batch as room

        if status is not None:
            _print(room.status(status), as_json_=json)
            return
        if not inputs or out is None or (model is None and config is None):
            raise BadRequestError("name INPUT, --out and --model; or use --status OUT")
        reranker = _reranker(model, config, {"top_n": top_n, **connection(api_base, api_key, timeout, option)})
        arguments: RunKeywords = {
            "query": query,
            "documents": documents,
            "keep": None if keep is None else [name.strip() for name in keep.split(",") if name.strip()],
            "in_flight": in_flight,
            **_limits(rpm, tpm, limit, reranker.deployment),
            "max_wait": max_wait,
            "chunk_rows": chunk_rows,
            "shard": _shard(shard),
            "budget": budget,
            "retry_errors": retry_errors,
            "via": via,
        }
        if estimate:
            typer.echo(without_control_characters(str(room.estimate(inputs, out, reranker, **arguments))))
            return

        def announce(found: Estimate) -> None:
            typer.echo(without_control_characters(str(found)), err=True)
            _ask(found, yes=yes, has_budget=budget is not None)

        with _shown() as progress:
            arguments |= {"announce": announce, "progress": progress}
            report = room.run(inputs, out, reranker, **arguments)
    _print(report, as_json_=json)
    raise typer.Exit(report.exit_code)


def _reranker(model: str | None, config: Path | None, options: dict[str, Any]) -> BaseReranker:
    if config is None:
        return anyrerank.Reranker(model or "", **options)
    given = {name: value for name, value in options.items() if value is not None}
    if refused := sorted({"api_key", "api_base"} & given.keys()):
        raise BadRequestError(f"{', '.join(refused)} cannot be given with --config: write it in the file")
    return anyrerank.Router.from_config(config, **given).as_reranker(model)


def _limits(rpm: float | None, tpm: float | None, url: str | None, model: str) -> RunKeywords:
    if url is None:
        return {"rpm": rpm, "tpm": tpm}
    from anyrerank.state import RedisState

    state = RedisState(url)
    state.check()
    return {"limit": anyrerank.Limit(rpm, tpm, state=state, name=f"batch:{model}")}


def _shard(text: str) -> tuple[int, int]:
    found = _SHARD.fullmatch(text)
    if found is None:
        raise BadRequestError(f"--shard must be I/N such as 0/16, got {text!r}")
    return int(found[1]), int(found[2])


def _ask(found: Estimate, *, yes: bool, has_budget: bool) -> None:
    """Ask whether to spend money. Without a terminal, `--yes` or `--budget` must be given instead."""
    if yes or found.dollars == 0 or (has_budget and not sys.stdin.isatty()):
        return
    if not sys.stdin.isatty():
        raise BadRequestError(
            "standard input is not a terminal, so the start cannot be confirmed: pass --yes or --budget"
        )
    if not typer.confirm("start?", err=True):
        raise BadRequestError("not started")


def _print(report: Report, *, as_json_: bool) -> None:
    if not as_json_:
        typer.echo(without_control_characters(str(report)))
        return
    from dataclasses import asdict

    typer.echo(as_json({**asdict(report), "exit_code": report.exit_code}))


@contextmanager
def _shown() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; otherwise a line every half minute."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    bar = _Bar()
    try:
        yield bar.show
    finally:
        bar.close()


class _Bar:
    """A bar that appears with the first progress: after the user has confirmed the start."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=None)

    def show(self, progress: Progress) -> None:
        self._bar.start()
        self._bar.update(self._task, completed=progress.done, total=progress.total, description=_text(progress))

    def close(self) -> None:
        self._bar.stop()


class _Lines:
    """A line of progress every half minute."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_INTERVAL

    def show(self, progress: Progress) -> None:
        if time.monotonic() >= self._next:
            self._next += _LINE_INTERVAL
            typer.echo(_text(progress), err=True)


def _text(progress: Progress) -> str:
    left = progress.seconds_left
    parts = [
        f"{progress.done:,}/{progress.total:,} rows",
        *([f"{progress.waiting:,} at the batch API"] if progress.waiting else []),
        f"{progress.rows_per_second:.0f} rows/s",
        f"${progress.cost:,.4f}",
        *([f"{progress.failed:,} failed"] if progress.failed else []),
        *([] if left is None else [f"{_time(left)} left"]),
    ]
    return ", ".join(parts)


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
