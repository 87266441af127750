"""The input files: finding them, their formats, and detecting changes."""

from __future__ import annotations

import glob
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from anyrerank.batch.formats import Format
from anyrerank.batch.jsonl import Jsonl
from anyrerank.errors import BadRequestError

_JSONL = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
_END = 1 << 20
_LONGEST_STEM = 60
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""At least two letters, so that it is no drive of Windows; `Path` makes one slash of two."""


Inputs: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """An input file, with what detects a change of it.

    Attributes:
        path: Absolute.
        size: In bytes.
        changed: When it was changed, in nanoseconds since the epoch.
        digest: Of its first and its last MiB.
    """

    path: str
    size: int
    changed: int
    digest: str

    @classmethod
    def at(cls, path: Path) -> InputFile:
        """The file at `path`.

        Raises:
            BadRequestError: It cannot be read.
        """
        try:
            status = path.stat()
            with path.open("rb") as file:
                digest = blake2b(file.read(_END), digest_size=16)
                file.seek(max(0, status.st_size - _END))
                digest.update(file.read(_END))
        except OSError as error:
            raise BadRequestError(f"{path} cannot be read: {error.strerror}") from None
        return cls(path=str(path), size=status.st_size, changed=status.st_mtime_ns, digest=digest.hexdigest())

    @property
    def key(self) -> str:
        """Its name in the names of parts, which does not depend on the other files."""
        stem = Path(self.path).stem[:_LONGEST_STEM]
        return f"{stem}-{self._number:08x}"

    @property
    def _number(self) -> int:
        return int.from_bytes(blake2b(self.path.encode("utf-8", "surrogateescape"), digest_size=4).digest(), "big")

    @property
    def format(self) -> Format:
        """Its format, by its suffix.

        Raises:
            MissingExtraError: The format needs a library that is not installed.
        """
        if Path(self.path).suffix in _JSONL:
            return Jsonl()
        made: Format = importlib.import_module("anyrerank.batch.parquet").Parquet()
        return made

    def is_same(self, other: Mapping[str, Any]) -> bool:
        """Whether it is what a manifest describes: same size, and same time or same content at both ends."""
        return bool(other["size"] == self.size and (other["changed"] == self.changed or other["digest"] == self.digest))

    def is_in(self, chunk: int, shard: tuple[int, int]) -> bool:
        """Whether a shard has a chunk: every n-th of each file; where they start differs by file."""
        index, count = shard
        return (self._number + chunk) % count == index


def input_files(inputs: Inputs) -> list[InputFile]:
    """The files that patterns, folders and paths name, in the order of their paths, each once.

    Raises:
        BadRequestError: One of them names no file, or a file that cannot be read.
    """
    given = [inputs] if isinstance(inputs, str | PathLike) else list(inputs)
    paths = {path for each in given for path in _paths(str(each))}
    if not paths:
        raise BadRequestError("there is no input: name files, folders or patterns")
    return [InputFile.at(path) for path in sorted(paths)]


def refuse_url(given: str) -> None:
    """Raise for the URL of an object store, such as `s3://bucket/rows.jsonl`.

    Raises:
        BadRequestError: It is one.
    """
    if (found := _URL.match(given)) and not Path(given).exists():
        raise BadRequestError(
            f"{given} is a URL, and batches need files and a folder on this machine: copy the files, mount the "
            f"{found[1]} store as a folder, or use anyrerank.batch.RerankBatch in Ray Data, Spark, Daft or Dask"
        )


def _paths(given: str) -> list[Path]:
    known = (*_JSONL, *_PARQUET)
    path = Path(given)
    if path.is_dir():
        found = [each for each in path.iterdir() if each.suffix in known and each.is_file()]
        if not found:
            raise BadRequestError(f"the folder {given} has no files that end in {', '.join(known)}")
    elif path.is_file():
        found = [path]
    else:
        found = [each for each in map(Path, glob.glob(given, recursive=True)) if each.is_file()]  # noqa: PTH207  takes any pattern, also an absolute one
        if not found:
            refuse_url(given)
            raise BadRequestError(f"no file matches {given}: check the path, and quote a pattern")
    if other := next((each for each in found if each.suffix not in known), None):
        raise BadRequestError(f"{other} has an unknown format: the name must end in {', '.join(known)}")
    return [each.absolute() for each in found]
