"""Batches that are killed, interrupted, or run out of disk, and are run again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.batch import expected, ids, paid_twice, parts, row, sends, write_rows
from tests.support.voyage_batches import VoyageStandIn

from anyrerank.batch import status
from anyrerank.testing import Exchange, StubServer

ROWS = 400
IN_FLIGHT = 8
ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on this platform"),
]


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", map(row, range(ROWS)))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def start(stub: StubServer, rows: Path, out: Path, *more: str, chunk_rows: int = 50) -> subprocess.Popen[str]:
    arguments = [stub.url, str(rows), str(out), str(chunk_rows), str(IN_FLIGHT), *more]
    command = [sys.executable, "-m", "tests.support.batch", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603


def end(process: subprocess.Popen[str]) -> int:
    _, stderr = process.communicate(timeout=60)
    assert stderr == ""
    return process.returncode


def test_killed_ten_times_every_row_is_there_once_and_few_are_paid_twice(
    stub: StubServer, rows: Path, out: Path
) -> None:
    rng = random.Random(20_261_128)
    kills = 0
    for moment in sorted(rng.sample(range(5, ROWS), 10)):
        process = start(stub, rows, out)
        seen = 0
        while len(sends(stub)) < moment:  # rows, as it is not known how many requests a kill wastes
            assert stub.wait_for_requests(seen + 1, 30)
            seen = len(stub.requests)
        process.kill()
        process.communicate()
        kills += 1
    assert end(start(stub, rows, out)) == 0
    assert ids(out) == expected(ROWS)
    assert len(sends(stub)) == ROWS
    assert paid_twice(stub) <= status(out).unrecorded <= kills * IN_FLIGHT
    assert status(out).complete
    dollars = status(out).cost / ROWS * status(out).unrecorded
    assert f"at most {status(out).unrecorded} rows (about ${dollars:.4f}) paid twice" in str(status(out))


def test_killed_at_steps_of_writing_every_row_is_there_once(stub: StubServer, rows: Path, out: Path) -> None:
    """The steps around the end of a chunk: journal, part, rename, manifest, deletion of the journal."""
    kills = 0
    for step in (1, 2, 3, 58, 59, 60, 61, 62, 63, 64):
        assert end(start(stub, rows, out, f"die_at={step}")) == -signal.SIGKILL
        kills += 1
    assert end(start(stub, rows, out)) == 0
    assert ids(out) == expected(ROWS)
    assert paid_twice(stub) <= status(out).unrecorded <= kills * IN_FLIGHT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_waits_for_what_is_in_flight(stub: StubServer, rows: Path, out: Path, number: signal.Signals) -> None:
    held: list[StubServer] = []

    def interrupt(exchange: Exchange) -> None:
        if exchange.number == 100:
            process.send_signal(number)
        exchange.rank()

    stub.handler = interrupt
    process = start(stub, rows, out)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr, held) == (4, "", [])
    assert f"interrupted by {number.name}" in stdout
    assert status(out).rows == len(stub.requests) < ROWS
    stub.handler = Exchange.rank
    assert end(start(stub, rows, out)) == 0
    assert paid_twice(stub) == status(out).unrecorded == 0
    assert ids(out) == expected(ROWS)


def test_full_disk_stops_the_run_and_loses_only_what_was_in_flight(stub: StubServer, rows: Path, out: Path) -> None:
    process = start(stub, rows, out, "file_size=20000", chunk_rows=ROWS)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (4, "")
    assert "No space left" in stdout
    assert parts(out) == []
    assert end(start(stub, rows, out, chunk_rows=ROWS)) == 0
    assert paid_twice(stub) <= IN_FLIGHT
    assert ids(out) == expected(ROWS)


def test_full_disk_at_the_part_keeps_the_journal(stub: StubServer, rows: Path, out: Path) -> None:
    write_rows(rows, [{**row(number), "long": 300 * "x"} for number in range(ROWS)])
    keep = "keep=id,long"  # makes a part longer than its journal
    assert end(start(stub, rows, out, keep, "file_size=20000")) == 4
    assert parts(out) == []
    assert status(out).rows >= 50
    assert end(start(stub, rows, out, keep)) == 0
    assert paid_twice(stub) <= IN_FLIGHT
    assert ids(out) == expected(ROWS)


def test_garbage_in_journal_and_manifest_is_left_out(stub: StubServer, rows: Path, out: Path) -> None:
    process = start(stub, rows, out, "die_at=40")
    assert end(process) == -signal.SIGKILL
    (journal,) = (out / "_anyrerank" / "journal").glob("*.jsonl")
    for path in (journal, out / "_anyrerank" / "manifest.jsonl"):
        with path.open("ab") as file:
            file.write(b'\n{"row": 3\n\x00\x00\x00\n[]\n{"row": 1}\n')
    assert end(start(stub, rows, out)) == 0
    assert ids(out) == expected(ROWS)
    assert paid_twice(stub) <= IN_FLIGHT


def test_killed_at_each_request_to_a_batch_api_no_row_is_paid_twice(tmp_path: Path) -> None:
    """The vendor has done what was asked, and the process ends before it knows: uploads, batches, results, deletion."""
    path = write_rows(tmp_path / "rows.jsonl", map(row, range(20)))
    kills = 0
    while _killed_at(kills, path, tmp_path / str(kills)):
        kills += 1
    assert kills == 10


def _killed_at(number: int, rows: Path, out: Path) -> bool:
    """Kill a run at one of its requests, and say whether there was that many; then run again, and look at the rows."""
    running: list[subprocess.Popen[str]] = []
    is_running = threading.Event()

    def killing(exchange: Exchange) -> None:
        if exchange.number == number:
            is_running.wait(30)
            running[0].kill()
            running[0].wait()
        vendor.handle(exchange)

    with VoyageStandIn() as vendor:
        vendor.server.handler = killing
        running.append(start(vendor.server, rows, out, "via=batch-api", chunk_rows=10))
        is_running.set()
        is_killed = end(running[0]) == -signal.SIGKILL
        vendor.server.handler = vendor.handle
        assert end(start(vendor.server, rows, out, "via=batch-api", chunk_rows=10)) == 0
        assert ids(out) == expected(20)
        assert set(vendor.paid.values()) == {1}
        assert len(vendor.batches) == 2
    return is_killed
