"""What was handed to a vendor's batch API: noted before and after, so that a run that is killed hands in nothing twice.

    {"chunk": ["rows-1a2b3c4d", 3], "token": "...", "rows": 5000, "dollars": 3.1, "end": [...]}   about to be submitted
    {"token": "...", "batch": "batch-abc"}                                                        submitted
    {"token": "...", "collected": true}                                                           its results are here

The vendor stores the token with the batch. A token without a batch is looked for at the vendor before it is used again.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyrerank.batch.chunks import Key
from anyrerank.batch.formats import Mark
from anyrerank.batch.lines import LinesFile, read_lines


@dataclass(slots=True, kw_only=True)
class Submission:
    """A batch at the vendor, or about to be.

    Attributes:
        key: The chunk whose rows it has.
        token: What the vendor stores with it.
        rows: How many rows it has.
        dollars: What they will cost, about; `None` if the price is not known.
        end: Where the chunk ends in its file.
        batch: The vendor's id of it, once it is submitted.
    """

    key: Key
    token: str
    rows: int
    dollars: float | None
    end: Mark | None
    batch: str | None = None


class Submissions:
    """The submissions of a shard whose results are not here yet.

    Attributes:
        open: By their tokens.
        tries: How often each chunk was submitted and collected.
        marks: For the key of a file, where its chunks end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: dict[str, Submission] = {}
        self.tries: Counter[Key] = Counter()
        self.marks: dict[str, dict[int, Mark]] = {}
        self._file: LinesFile | None = None
        for line in read_lines(path):
            self._add(line)

    def _add(self, line: Mapping[str, Any]) -> None:
        match line:
            case {"chunk": [str(file), int(number)], "token": str(token), "rows": rows, "dollars": dollars, "end": end}:
                mark = None if end is None else Mark(*end)
                key = Key(file, number)
                self.open[token] = Submission(key=key, token=token, rows=rows, dollars=dollars, end=mark)
                if mark is not None:
                    self.marks.setdefault(file, {})[number] = mark
            case {"token": token, "batch": batch} if token in self.open:
                self.open[token].batch = batch
            case {"token": token, "collected": True} if token in self.open:
                self.tries[self.open.pop(token).key] += 1

    @property
    def rows(self) -> int:
        """Rows that the vendor has."""
        return sum(each.rows for each in self.open.values())

    @property
    def dollars(self) -> float:
        """What they will cost, as far as it is known."""
        return sum(each.dollars or 0.0 for each in self.open.values())

    def has(self, key: Key) -> bool:
        """Whether the vendor has the rows of a chunk."""
        return any(each.key == key for each in self.open.values())

    def announce(self, key: Key, rows: int, dollars: float | None, end: Mark | None) -> Submission:
        """Note that a chunk is about to be submitted."""
        token = uuid.uuid4().hex
        mark = None if end is None else list(end)
        self._append({"chunk": list(key), "token": token, "rows": rows, "dollars": dollars, "end": mark})
        return self.open[token]

    def submitted(self, submission: Submission, batch: str) -> None:
        """Note under which id the vendor has it."""
        self._append({"token": submission.token, "batch": batch})

    def collected(self, submission: Submission) -> None:
        """Note that its results are written down, or that there are none."""
        self._append({"token": submission.token, "collected": True})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _append(self, line: dict[str, Any]) -> None:
        if self._file is None:
            self._file = LinesFile(self.path)
        self._file.append(line)
        self._file.sync()
        self._add(line)
