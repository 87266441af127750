"""The journal's files: whose they are, and when they are gone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from anyrerank.ledger.journal import Journal, Segment

ME, FINDER = "0123456789abcdef", "f" * 16
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there is no flock")


def lines(folder: Path) -> list[bytes]:
    """What nobody holds in a folder; it is deleted."""
    found = []
    for segment in Journal(folder, FINDER).orphans():
        found += [line for batch in segment.batches(2) for line in batch]
        segment.delete()
    return found


def test_lines_are_read_in_batches_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    segment = Journal(tmp_path / "a" / "b", "me").segment()
    for line in (b"\n1", b"\n2\n3", b"\n4", b"\n5"):
        segment.write(line)
    assert list(segment.batches(3)) == [[b"1\n", b"2\n"], [b"3\n", b"4\n", b"5"]]
    segment.delete()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_what_is_read_may_be_read_again_and_written_to(tmp_path: Path) -> None:
    segment = Journal(tmp_path, ME).segment()
    segment.write(b"\n1")
    for _ in range(2):
        assert list(segment.batches(9)) == [[b"1"]]
    segment.write(b"\n2")
    assert list(segment.batches(9)) == [[b"1\n", b"2"]]
    segment.delete()


def test_what_is_given_up_is_found(tmp_path: Path) -> None:
    segment = Journal(tmp_path, ME).segment()
    segment.write(b"\n1")
    segment.close()
    assert lines(tmp_path) == [b"1"]
    assert lines(tmp_path) == []


@POSIX
def test_what_is_held_is_not_found(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ME)
    held, given_up = journal.segment(), journal.segment()
    held.write(b"\n1")
    given_up.write(b"\n2")
    given_up.close()
    assert lines(tmp_path) == [b"2"]
    held.close()
    assert lines(tmp_path) == [b"1"]


@POSIX
@pytest.mark.parametrize("taken", ["held", "deleted"])
def test_a_new_file_that_was_taken_for_an_orphan_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    """Between making and holding it, somebody else may have found it."""
    make = os.open
    finders: list[Segment] = []

    def open_and_lose(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = make(path, flags, mode)
        if flags & os.O_CREAT and not finders:
            finders.extend(Journal(tmp_path, FINDER).orphans())
            if taken == "deleted":
                finders[0].delete()
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    segment = Journal(tmp_path, ME).segment()
    assert len(finders) == 1
    segment.write(b"\n1")
    segment.close()
    if taken == "held":
        finders[0].delete()
    assert lines(tmp_path) == [b"1"]


@POSIX
def test_what_is_deleted_is_held_until_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a process that makes a file that was taken for an orphan could hold it in between, and lose it then."""
    segment = Journal(tmp_path, ME).segment()
    close = os.close
    there: list[Path] = []

    def look_and_close(descriptor: int) -> None:
        close(descriptor)
        there.extend(tmp_path.iterdir())

    monkeypatch.setattr(os, "close", look_and_close)
    segment.delete()
    assert there == []


@POSIX
def test_orphans_are_held_when_it_is_their_turn(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ME)
    for _ in range(2):
        journal.segment().close()
    orphans = Journal(tmp_path, FINDER).orphans()
    first = next(orphans)
    (second,) = Journal(tmp_path, FINDER).orphans()
    assert first.path < second.path
    assert list(orphans) == []
    first.delete()
    second.delete()


def test_what_was_left_is_not_looked_at_again(tmp_path: Path) -> None:
    Journal(tmp_path, ME).segment().close()
    journal = Journal(tmp_path, FINDER)
    (segment,) = journal.orphans()
    journal.leave(segment)
    assert list(journal.orphans()) == []
    assert segment.path.exists()
    assert lines(tmp_path) == []
    assert not segment.path.exists()


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "dataset.jsonl",
        "2026-1.jsonl",
        f"{ME}.jsonl",
        f"{ME}-1.json",
        f"{ME}-1.jsonl.bak",
        f"{ME}-x.jsonl",
        f"a{ME}-1.jsonl",
        f"{ME.upper()}-1.jsonl",
    ],
)
def test_other_files_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    (tmp_path / f"{ME}-7.jsonl").mkdir()
    assert lines(tmp_path) == []
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_is_not_there_has_no_orphans(tmp_path: Path) -> None:
    assert lines(tmp_path / "missing") == []
