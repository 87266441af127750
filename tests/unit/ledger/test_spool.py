"""The files in which calls wait for the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyrerank.ledger.spool import Spool, SpoolFile


def filled(folder: Path, *lines: bytes) -> SpoolFile:
    """A spool file that is open."""
    file = Spool(folder).create()
    for line in lines:
        file.append(line)
    return file


def taken(folder: Path) -> list[bytes]:
    """The lines of the abandoned files, which are deleted."""
    found = []
    for file in Spool(folder).abandoned():
        found += [line.strip() for _, line in file.lines()]
        file.delete()
    return [line for line in found if line]


def test_lines_are_read_in_the_order_of_writing(tmp_path: Path) -> None:
    file = filled(tmp_path / "a" / "b", b"\n1", b"\n2", b"\n3")
    assert [line.strip() for _, line in file.lines()] == [b"", b"1", b"2", b"3"]
    file.delete()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_keys_are_unique_and_stay_the_same(tmp_path: Path) -> None:
    files = [filled(tmp_path, *[b"\n1"] * 20) for _ in range(2)]
    keys = [key for file in files for key, _ in file.lines()]
    assert len(set(keys)) == len(keys) == 42
    assert max(map(len, keys)) < 40
    for file in files:
        file.close()
    again = [key for file in Spool(tmp_path).abandoned() for key, _ in file.lines()]
    assert sorted(again) == sorted(keys)


def test_file_may_be_written_after_it_was_read(tmp_path: Path) -> None:
    file = filled(tmp_path, b"\n1")
    assert len(list(file.lines())) == 2
    file.append(b"\n2")
    assert [line.strip() for _, line in file.lines()] == [b"", b"1", b"2"]
    file.delete()


def test_closed_file_is_abandoned(tmp_path: Path) -> None:
    filled(tmp_path, b"\n1").close()
    assert taken(tmp_path) == [b"1"]
    assert taken(tmp_path) == []


def test_open_file_is_not_abandoned(tmp_path: Path) -> None:
    file = filled(tmp_path, b"\n1")
    filled(tmp_path, b"\n2").close()
    assert taken(tmp_path) == [b"2"]
    file.close()
    assert taken(tmp_path) == [b"1"]


def test_abandoned_files_are_locked_one_at_a_time(tmp_path: Path) -> None:
    for line in (b"\n1", b"\n2"):
        filled(tmp_path, line).close()
    mine = Spool(tmp_path).abandoned()
    first = next(mine)
    (second,) = Spool(tmp_path).abandoned()
    assert first.path != second.path
    assert list(mine) == []
    first.delete()
    second.delete()


def test_empty_file_is_not_touched_because_its_process_may_not_have_locked_it_yet(tmp_path: Path) -> None:
    filled(tmp_path).close()
    assert taken(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 1


def test_file_is_deleted_once(tmp_path: Path) -> None:
    file = filled(tmp_path, b"\n1")
    for _ in range(2):
        file.delete()
    file.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "dataset.jsonl", "0123456789abcdef.jsonl"])
def test_files_of_others_are_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    file = filled(tmp_path, b"\n1")
    file.delete()
    file.path.mkdir()
    assert taken(tmp_path) == []
    assert (tmp_path / name).read_text() == "mine"


def test_missing_folder_has_no_abandoned_files(tmp_path: Path) -> None:
    assert taken(tmp_path / "missing") == []
