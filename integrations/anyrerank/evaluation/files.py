"""Data in and out of files: BEIR's folders, TREC's runs and qrels."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.dataset import Dataset, Labels, by_id


def from_beir(folder: str | PathLike[str], *, split: str = "test", name: str | None = None) -> Dataset:
    """A folder in BEIR's form: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.

    Only queries with labels are taken, as BEIR does. Titles are put before texts.

    Raises:
        BadRequestError: A file is not there or holds something else, with its line.
    """
    root = Path(folder)
    labels = read_labels(root / "qrels" / f"{split}.tsv")
    queries = by_id([(row["_id"], row["text"]) for row in _lines(root / "queries.jsonl", "_id", "text")], "queries")
    documents = by_id([(row["_id"], _document(row)) for row in _lines(root / "corpus.jsonl", "_id", "text")], "corpus")
    if missing := [query for query in labels if query not in queries]:
        raise BadRequestError(f"{root}: the query {missing[0]} has labels, and is not in queries.jsonl")
    return Dataset(
        name=name or root.name,
        queries={query: text for query, text in queries.items() if query in labels},
        documents=documents,
        labels=labels,
    )


_HEADS = ("score", "grade", "label", "relevance")
_WHOLE = re.compile(r"-?\d{1,9}")


def read_labels(path: str | PathLike[str]) -> Labels:
    """Labels in BEIR's form (`query`, `document`, `grade`, with a head) or TREC's (`query 0 document grade`).

    Raises:
        BadRequestError: It cannot be read, or a line is neither, or a label is there twice.
    """
    labels: dict[str, dict[str, int]] = {}
    for number, cells in _cells(Path(path)):
        if number == 1 and cells[-1] in _HEADS:
            continue
        if len(cells) not in (3, 4):
            raise BadRequestError(f"{path}, line {number}: a label is a query, a document and a grade")
        query, document, grade = cells[0], cells[-2], cells[-1]
        if not _WHOLE.fullmatch(grade):
            raise BadRequestError(f"{path}, line {number}: the grade is not a whole number of at most 9 digits")
        if document in labels.setdefault(query, {}):
            raise BadRequestError(f"{path}, line {number}: this document of the query {query} is labelled twice")
        labels[query][document] = int(grade)
    return labels


def read_run(path: str | PathLike[str]) -> dict[str, list[str]]:
    """A run in TREC's form (`query Q0 document rank score tag`): the documents of each query, best first.

    Sorted by score as trec_eval does, and by rank among equal scores.
    """
    found: dict[str, list[tuple[float, int, str]]] = {}
    for number, cells in _cells(Path(path)):
        try:
            query, _, document, rank, score, *_ = cells
            found.setdefault(query, []).append((-float(score), int(rank), document))
        except ValueError:
            raise BadRequestError(
                f"{path}, line {number}: a line of a run is a query, Q0, a document, a rank, a score and a name"
            ) from None
    return {query: [document for _, _, document in sorted(rows)] for query, rows in found.items()}


def write_trec(folder: Path, rankings: Mapping[str, Mapping[str, Sequence[str]]], labels: Labels) -> list[Path]:
    """Write a run for each ranking and the labels; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {_file_name(name) for name in rankings}
    if len(names) < len(rankings):
        raise BadRequestError("two rankings would be written to the same file: give them other names")
    written = [_written(folder / f"{_file_name(name)}.run", _run(name, found)) for name, found in rankings.items()]
    return [*written, _written(folder / "labels.qrels", _qrels(labels))]


def _run(name: str, rankings: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for query, ranking in rankings.items():
        for rank, document in enumerate(ranking, start=1):
            yield f"{query} Q0 {document} {rank} {len(ranking) - rank + 1} {_file_name(name)}"


def _qrels(labels: Labels) -> Iterator[str]:
    for query, grades in labels.items():
        for document, grade in grades.items():
            yield f"{query} 0 {document} {grade}"


def _written(path: Path, lines: Iterator[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _file_name(name: str) -> str:
    return "".join(each if each.isalnum() or each in "._-" else "_" for each in name)


def _document(row: Mapping[str, Any]) -> Document:
    title = str(row.get("title") or "").strip()
    return f"{title}\n{row['text']}" if title else str(row["text"])


def _lines(path: Path, *needed: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or any(not isinstance(row.get(name), str) for name in needed):
            raise BadRequestError(f"{path}, line {number}: not a JSON object with {' and '.join(needed)}")
        yield row


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    lines = _text(path).split("\n")
    tabs = any("\t" in line for line in lines[:1])
    rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else (line.split() for line in lines)
    for number, cells in enumerate(rows, start=1):
        if cells:
            yield number, cells


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequestError(f"{path} cannot be read: {type(error).__name__}") from None
