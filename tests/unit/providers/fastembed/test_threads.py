"""Threads, cancellation, copies and processes."""

import asyncio
import copy
import gc
import os
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from tests.support.harness import Mode
from tests.support.processes import forked

from anyrerank import APITimeoutError, Reranker
from anyrerank.providers._base import cross_encoder as local_models

pytest.importorskip("onnx")
cross_encoder: Any = pytest.importorskip("fastembed.rerank.cross_encoder")
from tests.unit.providers.fastembed.models import DOCUMENTS, ORDER, QUERY, Predict  # noqa: E402


def test_two_threads_load_the_model_once(
    model: str, monkeypatch: pytest.MonkeyPatch, loads: list[Any], sync_mode: Mode
) -> None:
    loading = cross_encoder.TextCrossEncoder.__init__
    both = threading.Barrier(2)
    outcomes: list[list[int]] = []

    def slow(self: Any, name: str, **options: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        loading(self, name, **options)

    monkeypatch.setattr(cross_encoder.TextCrossEncoder, "__init__", slow)

    def ask() -> None:
        outcomes.append(list(sync_mode.reranker(model).rerank(QUERY, DOCUMENTS).results.indexes))

    in_threads(2, ask)
    assert outcomes == [ORDER, ORDER]
    assert len(loads) == 1


def in_threads(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
        assert not each.is_alive()


def test_predictions_do_not_overlap(model: str, predicting: Callable[[Predict], None], sync_mode: Mode) -> None:
    at_once, most = [0], [0]
    other = threading.Event()

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        if at_once[0] > 1:
            other.set()
        other.wait(0.02)
        scores = predict()
        at_once[0] -= 1
        return scores

    predicting(around)
    reranker = sync_mode.reranker(model)
    documents = DOCUMENTS * 33
    in_threads(3, lambda: reranker.rerank(QUERY, documents))
    assert most == [1]


def test_timeout_is_checked_between_chunks(model: str, predicted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + 3.0 * len(predicted))
    with pytest.raises(APITimeoutError, match="timed out"):
        Reranker(model).rerank(QUERY, ["river"] * 300, timeout=5.0)
    assert predicted == [64, 64]


async def test_cancelled_call_stops_after_the_chunk(model: str, predicting: Callable[[Predict], None]) -> None:
    loop, begun, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    go_on = threading.Event()
    sizes: list[int] = []

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        sizes.append(len(texts))
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(30)
        loop.call_soon_threadsafe(ended.set)
        return predict()

    predicting(around)
    task = asyncio.create_task(Reranker(model).arerank(QUERY, ["river"] * 300))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await ended.wait()
    assert sizes == [64]


async def test_event_loop_is_not_blocked_by_a_prediction(model: str, predicting: Callable[[Predict], None]) -> None:
    loop, went_on = asyncio.get_running_loop(), threading.Event()

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        loop.call_soon_threadsafe(went_on.set)
        assert went_on.wait(5), "the event loop is blocked"
        return predict()

    predicting(around)
    response = await Reranker(model).arerank(QUERY, DOCUMENTS)
    assert list(response.results.indexes) == ORDER


def pickled(reranker: Reranker) -> Reranker:
    made: Reranker = pickle.loads(pickle.dumps(reranker))  # noqa: S301  # made on the line itself
    return made


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
def test_copies_share_the_loaded_model(
    copied: Callable[[Reranker], Reranker], model: str, loads: list[Any], mode: Mode
) -> None:
    reranker = mode.reranker(model, threads=1)
    for each in (reranker, copied(reranker)):
        assert list(mode.rerank(each, QUERY, DOCUMENTS).results.indexes) == ORDER
    assert len(loads) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forked_process_loads_its_own_model(model: str, loads: list[Any], mode: Mode) -> None:
    reranker = mode.reranker(model)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    (slot,) = local_models.models.slots.values()

    def in_the_child() -> str:
        fresh = Mode(asynchronous=mode.asynchronous)
        return f"{list(fresh.rerank(reranker, QUERY, DOCUMENTS).results.indexes)} {len(loads)}"

    gc.collect()  # the child would hang if it freed models of earlier tests, whose threads it does not have
    with slot.lock:
        assert forked(in_the_child) == f"{ORDER} 2"
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert len(loads) == 1
