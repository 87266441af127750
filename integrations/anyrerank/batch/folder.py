"""The output folder of a job: its lock, its journals, and how a part gets there.

    out/part-<file>-<chunk>.jsonl             whole, or not there
    out/_anyrerank/manifest-<shard>.jsonl     what is done
    out/_anyrerank/journal/<file>-<chunk>     the answered rows of chunks that are not done
    out/_anyrerank/batches-<shard>.jsonl      what a vendor's batch API has

The order of the steps is the protocol: journal, part under another name, rename, manifest, and only then is the journal
deleted. Whichever step the process ends at, the next run goes on from there without asking for an answered row again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from anyrerank.batch.journal import Journal, reopen
from anyrerank.batch.manifest import Manifest
from anyrerank.batch.outcomes import Outcome
from anyrerank.errors import ConfigurationError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_OWN = "_anyrerank"


class Folder:
    """The paths and the lock of a job's output folder.

    Args:
        out: The folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.own = out / _OWN
        self._journals = self.own / "journal"

    def manifest_path(self, shard: tuple[int, int]) -> Path:
        """The manifest of a shard."""
        index, count = shard
        return self.own / ("manifest.jsonl" if count == 1 else f"manifest-{index}-of-{count}.jsonl")

    def submissions_path(self, shard: tuple[int, int]) -> Path:
        """The file with the batches that a shard submitted."""
        return self.own / self.manifest_path(shard).name.replace("manifest", "batches")

    def submissions_paths(self) -> list[Path]:
        """All such files that exist."""
        return sorted(self.own.glob("batches*.jsonl"))

    def manifests(self) -> list[Manifest]:
        """All manifests that exist."""
        return [Manifest(path) for path in sorted(self.own.glob("manifest*.jsonl"))]

    def journal_name(self, file: str, number: int) -> str:
        """The name of the journal of a chunk, without its suffix."""
        return f"{file}-{number:06d}"

    def journals(self) -> list[Path]:
        """The journals of chunks that are not done."""
        return sorted(self._journals.glob("*.jsonl"))

    @contextmanager
    def locked(self, shard: tuple[int, int]) -> Iterator[None]:
        """Create the folder, and lock this shard against other processes.

        Raises:
            ConfigurationError: Another process runs it, or the folder cannot be written, or it is that of other shards.
        """
        try:
            self._journals.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.manifest_path(shard).with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self.unwritable(error) from None
        try:
            try:
                _lock(descriptor)
            except OSError:
                raise ConfigurationError(
                    f"another process is running this job in {self.out}: wait until it has ended, or use another --out"
                ) from None
            self._check_shards(shard[1])
            yield
        finally:
            os.close(descriptor)

    def unwritable(self, error: OSError) -> ConfigurationError:
        """The error for a folder that cannot be written."""
        return ConfigurationError(f"{self.out} cannot be written: {error.strerror}; choose another --out")

    def journal(self, file: str, number: int) -> Journal:
        """The journal of a chunk, with what is in it."""
        return Journal(self._journal_path(file, number))

    def part_path(self, file: str, number: int, suffix: str) -> Path:
        """The part of a chunk."""
        return self.out / f"part-{file}-{number:06d}{suffix}"

    def write_part(self, path: Path, write: Callable[[BinaryIO], None]) -> None:
        """Write a part, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        temporary = self.own / f"{path.name}.tmp"
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        os.replace(temporary, path)  # noqa: PTH105
        _sync_folder(self.out)

    def forget(self, file: str, number: int) -> None:
        """Delete the journal of a chunk that is done."""
        self._journal_path(file, number).unlink(missing_ok=True)

    def reopen(self, file: str, number: int, outcomes: list[Outcome]) -> int:
        """Write the journal of a chunk whose failed rows are asked for again, and return how many these are."""
        return reopen(self._journal_path(file, number), dict(enumerate(outcomes)))

    def _journal_path(self, file: str, number: int) -> Path:
        return self._journals / f"{self.journal_name(file, number)}.jsonl"

    def _check_shards(self, count: int) -> None:
        for path in self.own.glob("manifest*.jsonl"):
            there = int(path.stem.rpartition("-of-")[2]) if "-of-" in path.stem else 1
            if there != count and path.stat().st_size:
                raise ConfigurationError(
                    f"{self.out} was begun with {there} shards, and not with {count}: keep the number, or use another "
                    "folder"
                )


def _sync_folder(folder: Path) -> None:
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:

    def _lock(descriptor: int) -> None:
        """Lock a file until it is closed, or the process ends.

        Raises:
            OSError: Another process has locked it.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
