"""The manifest of a job: its fingerprint, its files, its runs, and the chunks that are done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anyrerank.batch.formats import Mark
from anyrerank.batch.lines import LinesFile, read_lines
from anyrerank.batch.source import InputFile
from anyrerank.batch.tally import Tally
from anyrerank.errors import ConfigurationError

_VERSION = 1


class Manifest:
    """The manifest as it was read; `ManifestWriter` appends to it.

    Attributes:
        job: What is asked; empty before the first line was written.
        files: The input files by key.
        done: The sums of each chunk that is done, by the key of its file and its number.
        marks: For the key of a file, where its chunks end.
        chunks: Number of chunks of each file whose end was seen.
        unrecorded: Maximum number of rows that were in flight when earlier runs were killed. They may be paid for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job: Mapping[str, Any] = {}
        self.files: dict[str, Mapping[str, Any]] = {}
        self.done: dict[tuple[str, int], Tally] = {}
        self.marks: dict[str, dict[int, Mark]] = {}
        self.chunks: dict[str, int] = {}
        self.unrecorded = 0
        self._in_flight = 0  # of a run whose end is not there
        for line in read_lines(path):
            self._add(line)

    def _add(self, line: Mapping[str, Any]) -> None:
        match line:
            case {"version": version, "job": job}:
                if version != _VERSION:
                    raise ConfigurationError(f"{self.path} was written by another version of anyrerank: {version}")
                self.job = job
            case {"file": key, "path": _}:
                self.files[key] = line
            case {"file": key, "chunks": count}:
                self.chunks[key] = count
            case {"file": key, "done": number}:
                self.done[key, number] = Tally.from_json(line)
                if (end := line.get("end")) is not None:
                    self.marks.setdefault(key, {})[number] = Mark(*end)
            case {"file": key, "again": number}:
                self.done.pop((key, number), None)
            case {"run": "begins", "in_flight": in_flight}:
                self.unrecorded += self._in_flight
                self._in_flight = in_flight
            case {"run": "ends"}:
                self._in_flight = 0

    def total(self) -> Tally:
        """The sums of all chunks that are done."""
        total = Tally()
        for tally in self.done.values():
            total.merge(tally)
        return total

    def is_complete(self, shard: tuple[int, int]) -> bool:
        """Whether every chunk of a shard is done."""
        return all(key in self.chunks and self._is_done(key, shard) for key in self.files)

    def _is_done(self, key: str, shard: tuple[int, int]) -> bool:
        file = input_file(self.files[key])
        return all((key, number) in self.done for number in range(self.chunks[key]) if file.is_in(number, shard))

    def check(self, job: Mapping[str, Any], files: Sequence[InputFile]) -> None:
        """Check that the job is the same, and that no known file has changed.

        Raises:
            ConfigurationError: It is not, or one has.
        """
        if self.job:
            _check_same(self.job, job, self.path.parent.parent)
            _check_files(self.files, {file.key: file for file in files})


class ManifestWriter(Manifest):
    """A manifest to which lines are appended, each of which is on the disk before anything else happens."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = LinesFile(path)

    def begin(self, job: Mapping[str, Any], files: Sequence[InputFile]) -> None:
        """Note what is asked, unless it is known, and the files that are new.

        Raises:
            ConfigurationError: The job is another one, or a known file has changed or is missing.
        """
        self.check(job, files)
        if not self.job:
            self._append({"version": _VERSION, "job": job})
        for file in files:
            if file.key not in self.files:
                self._append({"file": file.key, **asdict(file)})

    @contextmanager
    def running(self, in_flight: int) -> Iterator[None]:
        """Record that rows are sent, at most `in_flight` at once, and the end of it: a killed run has none."""
        self._append({"run": "begins", "in_flight": in_flight})
        try:
            yield
        finally:
            with suppress(OSError):  # a full disk, which is why the run ends
                self._append({"run": "ends"})

    def done_with(self, key: str, number: int, tally: Tally, end: Mark | None) -> None:
        """Record that a chunk is done."""
        self._append({"file": key, "done": number, **tally.to_json(), **({"end": list(end)} if end else {})})

    def open_again(self, key: str, number: int) -> None:
        """Record that a chunk is no longer done."""
        self._append({"file": key, "again": number})

    def seen_end(self, key: str, chunks: int) -> None:
        """Record the number of chunks of a file."""
        if self.chunks.get(key) != chunks:
            self._append({"file": key, "chunks": chunks})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, line: dict[str, Any]) -> None:
        self._file.append(line)
        self._file.sync()
        self._add(line)


def input_file(line: Mapping[str, Any]) -> InputFile:
    """The file that a line describes."""
    return InputFile(path=line["path"], size=line["size"], changed=line["changed"], digest=line["digest"])


def _check_same(known: Mapping[str, Any], given: Mapping[str, Any], out: Path) -> None:
    differences = [
        f"{name} was {known.get(name)!r} and is {given.get(name)!r}"
        for name in dict.fromkeys((*known, *given))
        if known.get(name) != given.get(name)
    ]
    if differences:
        raise ConfigurationError(f"{out} holds another job: {'; '.join(differences)}. Use another --out")


def _check_files(files: Mapping[str, Mapping[str, Any]], given: Mapping[str, InputFile]) -> None:
    for key, known in files.items():
        if key not in given:
            if Path(known["path"]).exists():
                raise ConfigurationError(
                    f"{known['path']} belongs to this job: name it as an input as well, or use another --out"
                )
            raise ConfigurationError(
                f"{known['path']} belongs to this job and is not there any more: restore it, or use another --out"
            )
        if not given[key].is_same(known):
            raise ConfigurationError(
                f"{known['path']} has changed since the job began: restore it, or use another --out"
            )
