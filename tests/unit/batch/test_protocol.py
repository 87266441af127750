"""The commit protocol: whichever steps a run ends at, every row stands in the output once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.batch import expected, ids, parts, row, voyage, write_rows
from tests.support.clock import Clock
from tests.support.voyage_batches import VoyageStandIn

from anyrerank import BadRequestError, Reranker
from anyrerank.batch import run
from anyrerank.testing import FakeProvider, fake_provider

ROWS = 23
IN_FLIGHT = 3
STEPS = ("write", "fsync", "replace", "unlink")


class Crash(BaseException):
    """The process ends here."""


class Disk:
    """Changes of the disk, of which the one numbered `last` is cut off, and none happens after it."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.count = 0

    def step(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.count += 1
            if self.count >= self.last:
                if self.count == self.last and name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Crash
            return real(*arguments, **keywords)

        return call


def crashed(disk: Disk, start: Callable[[], object]) -> bool:
    """Whether a run ended before its end."""
    patches = [patch.object(os, name, disk.step(name)) for name in STEPS]
    for each in patches:
        each.start()
    try:
        start()
    except Crash:
        return True
    finally:
        for each in patches:
            each.stop()
    return False


@settings(max_examples=60, deadline=None)
@given(
    crashes=st.lists(st.integers(1, 60), max_size=6),
    chunk_rows=st.sampled_from([1, 4, 7, 100]),
    refused=st.sets(st.integers(0, ROWS - 1), max_size=3),
)
def test_any_sequence_of_crashes_leaves_every_row_once(crashes: list[int], chunk_rows: int, refused: set[int]) -> None:
    def answer(query: str, text: str) -> float:
        if any(f"({number})" in query for number in refused):
            raise BadRequestError("too long", status_code=422)
        return 0.5

    fake = fake_provider(answer)
    folder = Path(tempfile.mkdtemp())
    try:
        path, out = write_rows(folder / "rows.jsonl", map(row, range(ROWS))), folder / "out"

        start = partial(_run, path, out, fake, chunk_rows)
        ended = sum(crashed(Disk(last), start) for last in crashes)
        start()
        seen = Counter(call.query for call in fake.calls)
        assert ids(out) == expected(ROWS)
        assert all(len(each["ranking"]) == 3 for each in parts(out) if each["error"] is None)
        again = sum(count - 1 for query, count in seen.items() if not any(f"({each})" in query for each in refused))
        assert again <= ended * IN_FLIGHT
        assert list((out / "_anyrerank" / "journal").iterdir()) == []
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_rows", [7, 100])
def test_a_crash_at_each_step_in_turn_leaves_every_row_once(chunk_rows: int, tmp_path: Path) -> None:
    path, last, is_crashed = write_rows(tmp_path / "rows.jsonl", map(row, range(ROWS))), 0, True
    while is_crashed:
        last += 1
        fake, out = fake_provider(), tmp_path / str(last)
        start = partial(_run, path, out, fake, chunk_rows)
        is_crashed = crashed(Disk(last), start)
        start()
        assert ids(out) == expected(ROWS)
        assert len(fake.calls) <= ROWS + IN_FLIGHT, f"step {last}"
    assert last > ROWS


@pytest.mark.slow
@pytest.mark.parametrize("polls", [0, 1])
def test_a_crash_at_each_step_of_a_batch_api_pays_no_row_twice(
    polls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyrerank.batch.submitting._POLL_SECONDS", 0.0)
    path, last, is_crashed = write_rows(tmp_path / "rows.jsonl", map(row, range(ROWS))), 0, True
    while is_crashed:
        last += 1
        out = tmp_path / str(last)
        with VoyageStandIn(polls) as vendor:
            start = partial(run, path, out, voyage(vendor.url), chunk_rows=7, max_wait=0, via="batch-api")
            is_crashed = crashed(Disk(last), start)
            start()
            assert ids(out) == expected(ROWS)
            assert set(vendor.paid.values()) == {1}, f"step {last}"
            assert len(vendor.batches) == 4
    assert last > ROWS


def _run(path: Path, out: Path, fake: type[FakeProvider], chunk_rows: int) -> object:
    target = Reranker("fake/m", custom_llm_provider=fake)
    return run(path, out, target, chunk_rows=chunk_rows, in_flight=IN_FLIGHT, retry_errors=True, max_wait=0)


def test_answers_are_forced_to_the_disk_after_64_rows_and_a_second(tmp_path: Path, clock: Clock) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", map(row, range(200)))
    synced = []
    for rpm in (None, 6000, 600):  # the clock stands still without a limit
        with patch.object(os, "fsync", wraps=os.fsync) as fsync:
            run(
                rows,
                tmp_path / f"out-{rpm}",
                Reranker("fake/m", custom_llm_provider=fake_provider()),
                rpm=rpm,
                in_flight=1,
            )
        synced.append(fsync.call_count)
    assert [count - synced[0] for count in synced] == [0, 1, 3]
