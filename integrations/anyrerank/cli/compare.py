"""`anyrerank compare`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import anyrerank
from anyrerank.cli.connection import ApiBase, ApiKey, MoreOptions, Timeout, check_one_provider, connection
from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import without_control_characters
from anyrerank.errors import BadRequestError

if TYPE_CHECKING:
    from anyrerank.evaluation import Dataset

_DEMO = "demo"


def compare(
    *,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="provider/model, or name=provider/model.")],
    data: Annotated[
        str, typer.Option(help="A folder in BEIR's format, or 'demo' for the small dataset of this package.")
    ] = _DEMO,
    split: Annotated[
        str | None, typer.Option(help="Which qrels of the folder to read. Default: test.", show_default=False)
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Candidates, as a run in TREC's format. Default: a lexical search.", show_default=False),
    ] = None,
    candidates: Annotated[
        int, typer.Option("--candidates", "-n", min=1, help="Number of candidates for each query.")
    ] = 30,
    k: Annotated[int, typer.Option("--top-n", "-k", min=1, help="Number of top results that count.")] = 10,
    baseline: Annotated[str, typer.Option(help="The row to compare the others with.")] = "first_stage",
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Let the lexical search return a document that is the query itself.")
    ] = False,
    rpm: Annotated[
        float | None, typer.Option(help="Maximum number of calls per minute to a model.", show_default=False)
    ] = None,
    api_base: ApiBase = None,
    api_key: ApiKey = None,
    timeout: Timeout = None,
    option: MoreOptions = None,
    budget: Annotated[float | None, typer.Option(help="Maximum cost in US dollars.", show_default=False)] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Send candidates in random order.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="A file that caches outcomes, so that a repeat is free.", show_default=False)
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report to this file.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, rankings included.")] = False,
) -> None:
    """Compare rerankers on labelled queries: quality, latency and cost.

    The number of calls and their estimated cost are printed before the first call. The status is 1 if every call of a
    model failed.

    Options of the connection are for all models, except those on this machine.
    """
    with one_line_errors():
        if html is not None:
            _check_writable(html)
        from anyrerank import evaluation

        named = _rerankers(_by_name(models), connection(api_base, api_key, timeout, option))
        dataset = _dataset(data, split, run, candidates)
        with nullcontext() if cache is None else anyrerank.SQLiteCache(cache, ttl=None) as opened:
            report = evaluation.compare(
                named,
                dataset,
                candidates=None if data == _DEMO else candidates,
                first_stage=run,
                include_self=include_self,
                k=k,
                baseline=baseline,
                budget_usd=budget,
                rpm=rpm,
                shuffle=shuffle,
                cache=opened,
                progress=sys.stderr.isatty() and find_spec("tqdm") is not None,
                announce=lambda line: typer.echo(without_control_characters(line), err=True),
            )
        typer.echo(report.to_json() if json else without_control_characters(str(report), keep="\n"))
        if html is not None:
            report.to_html(html)
        if any(row.failed for row in report.rows.values()):
            raise typer.Exit(1)


def _by_name(models: Sequence[str]) -> dict[str, str]:
    """Model strings by name: `name=provider/model`, or the model string itself."""
    pairs = [model.partition("=") for model in models]
    named = {name if equals else model: rest or name for model, (name, equals, rest) in zip(models, pairs, strict=True)}
    if len(named) < len(models):
        raise BadRequestError("two models have the same name: write name=provider/model")
    return named


def _rerankers(named: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, str | anyrerank.Reranker]:
    """Rerankers with the options of the connection; models on this machine need none."""
    if not options:
        return dict(named)
    remote = [model for model in named.values() if not model.startswith("local/")]
    check_one_provider(remote, options)
    return {name: anyrerank.Reranker(model, **options) if model in remote else model for name, model in named.items()}


def _dataset(data: str, split: str | None, run: Path | None, candidates: int) -> Dataset:
    from anyrerank.evaluation import demo_set, from_beir

    if data != _DEMO:
        return from_beir(data, split=split or "test")
    if split is not None or run is not None:
        raise BadRequestError("--split and --run need a folder in --data; the demo dataset has neither")
    return demo_set(candidates=candidates)


def _check_writable(file: Path) -> None:
    """Fail before any call is paid for, not after."""
    try:
        is_new = not file.exists()
        file.open("ab").close()
        if is_new:
            file.resolve().unlink()
    except OSError as error:
        raise BadRequestError(f"{file} cannot be written: {error.strerror}") from None
