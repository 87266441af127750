"""`run`: rerank files of any size, and continue where an earlier run ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from os import PathLike
from typing import Any, TypeAlias

from typing_extensions import Unpack

from anyrerank._core.client import BaseReranker, Reranker, Router
from anyrerank.batch.estimate import Estimate
from anyrerank.batch.job import Job
from anyrerank.batch.report import Report
from anyrerank.batch.settings import RunKeywords, Settings
from anyrerank.batch.source import Inputs
from anyrerank.errors import BadRequestError

Model: TypeAlias = str | BaseReranker | Router


def estimate(inputs: Inputs, out: str | PathLike[str], reranker: Model, **arguments: Unpack[RunKeywords]) -> Estimate:
    """What `run` with the same arguments would take. Sends and writes nothing.

    Raises:
        RerankError: As for `run`.
    """
    settings = Settings(**arguments)
    return Job(inputs, out, _made(reranker, settings.options), settings).estimate


async def arun(inputs: Inputs, out: str | PathLike[str], reranker: Model, **arguments: Unpack[RunKeywords]) -> Report:
    """`run`, on the running event loop."""
    settings = Settings(**arguments)
    target = _made(reranker, settings.options)
    try:
        job = Job(inputs, out, target, settings)
        if job.is_finished:
            return Report.of(job.done, complete=True)
        job.check_budget()
        if settings.announce is not None:
            settings.announce(job.estimate)
        return await job.run()
    finally:
        if isinstance(reranker, str):
            await target.aclose()


def run(inputs: Inputs, out: str | PathLike[str], reranker: Model, **arguments: Unpack[RunKeywords]) -> Report:
    """Rerank every row of files, and write rankings, scores, errors and costs to a folder.

    A run that was killed, or that stopped, goes on where it ended: call it again with the same arguments. A row that
    was answered is never asked for again. SIGINT and SIGTERM end a run well: nothing more is sent, and the rows in
    flight are waited for.

    Args:
        inputs: Files, folders, or patterns such as `in/*.jsonl`. JSON lines (`.jsonl`, `.ndjson`) have a query and its
            candidates under the names below, or a `custom_id` and Cohere's body under `body`. Parquet (`.parquet`)
            needs `pip install 'anyrerank[batch]'`.
        out: The folder for the output.
        reranker: A model string, a `Reranker`, a `Router`, or a name of a router (`router.as_reranker(name)`).

    Keyword Args:
        query: Name of the query.
        documents: Name of the candidates; by default `candidates` or `documents`.
        keep: Names of the columns that are copied to the output; by default `id` or `custom_id`.
        options: Options of the `Reranker`, where `reranker` is a string.
        in_flight: Maximum number of requests in flight.
        rpm: Maximum number of requests per minute.
        tpm: Maximum number of tokens per minute, as far as they are known before a request is sent.
        limit: A `Limit` in place of `rpm` and `tpm`, such as one that several processes share.
        max_wait: Seconds for which a row is tried again while the server is unavailable or limits the rate.
        chunk_rows: Rows in each file of the output.
        shard: `(i, n)` to do every n-th chunk only, beginning at chunk i.
        budget: US dollars for the whole job, over all runs; each of n shards gets an n-th part.
        retry_errors: Ask again for the rows that failed in earlier runs.
        via: `"requests"`, or `"batch-api"` for Voyage's Batch API: cheaper, and answers within hours.
        announce: Gets the `Estimate` before anything is sent; the run does not begin if it raises.
        progress: Gets a `Progress` now and then.

    Raises:
        RerankError: The job cannot begin: wrong arguments, a missing key, no input, columns that are not there, an
            estimate above the budget, a folder that holds another job or is in use. Nothing was sent.
    """
    return _run_loop(partial(arun, inputs, out, reranker, **arguments))


def _made(reranker: Model, options: Mapping[str, Any] | None) -> BaseReranker:
    """The reranker that a model string, a router or a reranker stands for.

    Raises:
        BadRequestError: There are options for a reranker that has its own.
    """
    if isinstance(reranker, str):
        return Reranker(reranker, **(options or {}))
    if options:
        raise BadRequestError("options are for a model string; a Reranker or a Router has its own")
    return reranker.as_reranker() if isinstance(reranker, Router) else reranker


def _run_loop(start: Callable[[], Coroutine[Any, Any, Report]]) -> Report:
    """Run a coroutine to its end, in a thread of its own where a loop is running, as in Jupyter."""
    if not _is_loop_running():
        return asyncio.run(start())
    outcome: list[Report | BaseException] = []
    running: list[Callable[[], object]] = []

    async def main() -> Report:
        task = asyncio.current_task()
        if task is not None:
            running.append(partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel))
        return await start()

    def work() -> None:
        try:
            outcome.append(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001  raised below
            outcome.append(error)

    thread = threading.Thread(target=work, name="anyrerank-batch")
    thread.start()
    try:
        thread.join()
    except BaseException:  # such as an interrupted cell of a notebook
        for cancel in running:
            cancel()
        thread.join()
        raise
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
