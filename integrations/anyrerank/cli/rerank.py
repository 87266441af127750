"""`anyrerank rerank`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import anyrerank
from anyrerank.cli.connection import ApiBase, ApiKey, MoreOptions, Timeout, connection
from anyrerank.cli.documents import read_documents
from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import as_json, without_control_characters


def rerank(
    *,
    model: Annotated[str, typer.Option(help="provider/model; its key comes from the environment.")],
    query: Annotated[str, typer.Option(help="What the documents should answer.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="UTF-8: one document a line, as text or as a JSON object with a 'text', or one JSON array of them. "
            "Default: standard input.",
            show_default=False,
        ),
    ] = None,
    top_n: Annotated[
        int | None, typer.Option("--top-n", "-k", min=1, help="Number of results. Default: all.", show_default=False)
    ] = None,
    api_base: ApiBase = None,
    api_key: ApiKey = None,
    timeout: Timeout = None,
    option: MoreOptions = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON in Cohere's format.")] = False,
) -> None:
    """Rank documents by how well they answer a query.

    The index of a result is the number of its line, or its position in a JSON array, counted from 0.
    """
    with one_line_errors():
        options = connection(api_base, api_key, timeout, option)
        with anyrerank.Reranker(model, **{"top_n": top_n, **options}) as reranker:
            response = reranker.rerank(query, read_documents(file))
        typer.echo(as_json(response.to_cohere()) if json else without_control_characters(str(response), keep="\n"))
