"""Data from and to files: folders in BEIR's format, runs and labels in TREC's."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError
from anyrerank.evaluation.dataset import Dataset, Labels, by_id


def from_beir(folder: str | PathLike[str], *, split: str = "test", name: str | None = None) -> Dataset:
    """Read a folder in BEIR's format: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.

    As in BEIR, only queries with labels are included, and a title is prepended to its text.

    Args:
        folder: Path of the folder.
        split: Which file of `qrels` to read.
        name: Name of the dataset in reports; by default the name of the folder.

    Raises:
        BadRequestError: A file is missing or malformed. The message names the file and the line.
    """
    root = Path(folder)
    labels = read_labels(root / "qrels" / f"{split}.tsv")
    queries = by_id([(row["_id"], row["text"]) for row in _json_rows(root / "queries.jsonl")], "queries.jsonl")
    documents = by_id([(row["_id"], _document(row)) for row in _json_rows(root / "corpus.jsonl")], "corpus.jsonl")
    if missing := [query for query in labels if query not in queries]:
        raise BadRequestError(f"{root}: query {missing[0]} has labels but is missing from queries.jsonl")
    return Dataset(
        name=name or root.name,
        queries={query: text for query, text in queries.items() if query in labels},
        documents=documents,
        labels=labels,
    )


_GRADE_HEADINGS = ("score", "grade", "label", "relevance")
_GRADE = re.compile(r"-?\d{1,9}")


def read_labels(path: str | PathLike[str]) -> Labels:
    """Read labels in BEIR's format (`query document grade`, with a heading) or TREC's (`query 0 document grade`).

    Raises:
        BadRequestError: The file cannot be read, a line is malformed, or a document is labelled twice for a query.
    """
    labels: dict[str, dict[str, int]] = {}
    for number, cells in _cells(Path(path)):
        if number == 1 and cells[-1] in _GRADE_HEADINGS:
            continue
        if len(cells) not in (3, 4):
            raise BadRequestError(f"{path}, line {number}: expected a query, a document and a grade")
        query, document, grade = cells[0], cells[-2], cells[-1]
        if not _GRADE.fullmatch(grade):
            raise BadRequestError(f"{path}, line {number}: a grade must be a whole number of at most 9 digits")
        if document in labels.setdefault(query, {}):
            raise BadRequestError(f"{path}, line {number}: document {document} is labelled twice for query {query}")
        labels[query][document] = int(grade)
    return labels


def read_run(path: str | PathLike[str]) -> dict[str, list[str]]:
    """Read a run in TREC's format (`query Q0 document rank score tag`): the documents of each query, best first.

    Sorted by score, as trec_eval does; documents with equal scores are sorted by rank.

    Raises:
        BadRequestError: The file cannot be read, or a line is malformed.
    """
    rows: dict[str, list[tuple[float, int, str]]] = {}
    for number, cells in _cells(Path(path)):
        try:
            query, _, document, rank, score, *_ = cells
            rows.setdefault(query, []).append((-float(score), int(rank), document))
        except ValueError:
            raise BadRequestError(f"{path}, line {number}: expected query, Q0, document, rank, score and tag") from None
    return {query: [document for _, _, document in sorted(each)] for query, each in rows.items()}


def write_trec(folder: Path, rankings: Mapping[str, Mapping[str, Sequence[str]]], labels: Labels) -> list[Path]:
    """Write one run for each named ranking, and the labels as `labels.qrels`. Return the paths.

    Raises:
        BadRequestError: Two names would give the same file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if len({_file_name(name) for name in rankings}) < len(rankings):
        raise BadRequestError("two rankings would be written to the same file: rename one of them")
    paths = [_write(folder / f"{_file_name(name)}.run", _run_lines(name, found)) for name, found in rankings.items()]
    return [*paths, _write(folder / "labels.qrels", _qrels_lines(labels))]


def _run_lines(name: str, rankings: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for query, ranking in rankings.items():
        for rank, document in enumerate(ranking, start=1):
            yield f"{query} Q0 {document} {rank} {len(ranking) - rank + 1} {_file_name(name)}"


def _qrels_lines(labels: Labels) -> Iterator[str]:
    for query, grades in labels.items():
        for document, grade in grades.items():
            yield f"{query} 0 {document} {grade}"


def _write(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _file_name(name: str) -> str:
    return "".join(each if each.isalnum() or each in "._-" else "_" for each in name)


def _document(row: Mapping[str, Any]) -> Document:
    title = str(row.get("title") or "").strip()
    return f"{title}\n{row['text']}" if title else str(row["text"])


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or any(not isinstance(row.get(name), str) for name in ("_id", "text")):
            raise BadRequestError(f"{path}, line {number}: expected a JSON object with the strings _id and text")
        yield row


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line, separated by tabs if the first line has one, else by whitespace."""
    lines = _text(path).split("\n")
    has_tabs = "\t" in lines[0]
    rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if has_tabs else (line.split() for line in lines)
    for number, cells in enumerate(rows, start=1):
        if cells:
            yield number, cells


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequestError(f"{path} cannot be read: {type(error).__name__}") from None
