"""Reading and writing files: folders in BEIR's format, runs and labels in TREC's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank.errors import BadRequestError
from anyrerank.evaluation.cleaning import Skipped, known_labels, one_warning, whole_grade
from anyrerank.evaluation.dataset import Dataset, Labels


def from_beir(folder: str | PathLike[str], *, split: str = "test", name: str | None = None) -> Dataset:
    """Read a folder in BEIR's format: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.

    As in BEIR, only queries with labels are included, and a title is prepended to its text. Repeated rows are left out,
    and so are labels of queries or documents that are missing, and queries without a text; warnings count them. The id
    of a row may be named `id` instead of `_id`.

    Args:
        folder: Path of the folder.
        split: Which file of `qrels` to read.
        name: Name of the dataset in reports; by default the name of the folder.

    Raises:
        BadRequestError: A file is missing or malformed, or contradicts itself. The message names the file and the line.
    """
    root = Path(folder)
    with one_warning(root) as skipped:
        labels = _labels(root / "qrels" / f"{split}.tsv", skipped)
        queries = _texts(root / "queries.jsonl", skipped)
        documents = _texts(root / "corpus.jsonl", skipped)
        labels = known_labels(labels, queries, documents, skipped)
    return Dataset(
        name=name or root.name,
        queries={query: text for query, text in queries.items() if query in labels},
        documents=documents,
        labels=labels,
    )


def read_labels(path: str | PathLike[str]) -> Labels:
    """Read labels in BEIR's format (`query document grade`) or TREC's (`query 0 document grade`).

    A heading is optional. A grade may be written as `1` or `1.0`. Rows that repeat a label are counted in one warning.

    Raises:
        BadRequestError: The file cannot be read, a line is malformed, or a document has two grades for a query.
    """
    with one_warning(path) as skipped:
        return _labels(Path(path), skipped)


def _labels(path: Path, skipped: Skipped) -> dict[str, dict[str, int]]:
    labels: dict[str, dict[str, int]] = {}
    lines: dict[tuple[str, str], int] = {}
    for number, query, document, text in _label_rows(path, skipped):
        grade = whole_grade(text, f"{path}, line {number}")
        first = lines.setdefault((query, document), number)
        earlier = labels.setdefault(query, {}).setdefault(document, grade)
        if grade != earlier:
            raise BadRequestError(
                f"{path}, line {number}: document {document} has grade {grade} for query {query}, and {earlier} in "
                f"line {first}"
            )
        if first != number:
            skipped.add("repeated labels", f"for example line {number} of {path.name}")
    return labels


def _label_rows(path: Path, skipped: Skipped) -> Iterator[tuple[int, str, str, str]]:
    """The number, query, document and grade of each line, without the heading."""
    heading: Sequence[str] = ()
    for index, (number, cells) in enumerate(_cells(path)):
        if len(cells) not in (3, 4):
            raise BadRequestError(f"{path}, line {number}: expected a query, a document and a grade")
        if index == 0 and not any(map(_is_number, cells)):
            heading = cells
            if not any(_found(cells, words) is not None for words in _HEADINGS):
                skipped.add("lines that look like a heading", f"line {number} of {path.name}")
            continue
        query, document, grade = _columns(heading, len(cells))
        yield number, cells[query], cells[document], cells[grade]


_HEADINGS = (
    ("query", "qid", "topic", "question"),
    ("doc", "corpus", "passage", "pid", "chunk"),
    ("score", "grade", "label", "rel", "judg"),
)
"""Parts of the names that the columns of query, document and grade have in a heading."""


def _columns(heading: Sequence[str], count: int) -> tuple[int, int, int]:
    """The columns of query, document and grade: those that the heading names, else those of BEIR or TREC."""
    query, document, grade = (_found(heading, words) for words in _HEADINGS)
    named = len(heading) == count and len({query, document, grade}) == 3
    if named and query is not None and document is not None and grade is not None:
        return query, document, grade
    return (0, 1, 2) if count == 3 else (0, 2, 3)


def _found(heading: Sequence[str], words: Sequence[str]) -> int | None:
    return next((index for index, name in enumerate(heading) if any(word in name.casefold() for word in words)), None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_run(path: str | PathLike[str]) -> dict[str, list[str]]:
    """Read a run in TREC's format (`query Q0 document rank score tag`): the documents of each query, best first.

    A heading is optional. Sorted by score, as trec_eval does; documents with equal scores are sorted by rank. A
    document that is listed again for the same query counts once, at its best position; one warning counts such rows.

    Raises:
        BadRequestError: The file cannot be read, or a line is malformed.
    """
    rows: dict[str, list[tuple[float, float, str]]] = {}
    for index, (number, cells) in enumerate(_cells(Path(path))):
        if index == 0 and len(cells) in (5, 6) and not any(map(_is_number, cells)):
            continue  # a heading
        try:
            query, _, document, rank, score, *_ = cells
            place = (-float(score), float(rank), document)
        except ValueError:
            raise BadRequestError(f"{path}, line {number}: expected query, Q0, document, rank, score and tag") from None
        if math.isnan(place[0]) or math.isnan(place[1]):
            raise BadRequestError(f"{path}, line {number}: rank and score must be numbers")
        rows.setdefault(query, []).append(place)
    with one_warning(path) as skipped:
        return {
            query: _once(query, [document for _, _, document in sorted(each)], skipped) for query, each in rows.items()
        }


def _once(query: str, documents: Sequence[str], skipped: Skipped) -> list[str]:
    found = list(dict.fromkeys(documents))
    for _ in range(len(documents) - len(found)):
        skipped.add("candidates found twice", f"for example of query {query}")
    return found


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


def _texts(path: Path, skipped: Skipped) -> dict[str, str]:
    """The text of each row by id, title included."""
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, row in _json_rows(path):
        name, text = str(_id_of(row)), _text_with_title(row)
        first = lines.setdefault(name, number)
        if texts.setdefault(name, text) != text:
            raise BadRequestError(f"{path}, line {number}: the id {name} has another text in line {first}")
        if first != number:
            skipped.add(f"repeated rows of {path.name}", f"for example line {number}")
    return texts


def _text_with_title(row: Mapping[str, Any]) -> str:
    title, text = str(row.get("title") or "").strip(), str(row.get("text") or "")
    return f"{title}\n{text}" if title else text


def _id_of(row: Mapping[str, Any]) -> Any:
    return row.get("_id", row.get("id"))


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        is_row = isinstance(row, dict) and type(_id_of(row)) in (str, int)
        if not (is_row and isinstance(row.get("text"), str | None)):
            raise BadRequestError(f"{path}, line {number}: expected a JSON object with _id and text, both strings")
        yield number, row


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line that is not blank, separated by tabs if it has one, else by whitespace."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            yield number, [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()


def _text(path: Path) -> str:
    """The content of a file, without the byte order mark that tools on Windows write."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequestError(f"{path} must be UTF-8; byte {error.start} cannot be decoded") from None
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read: {type(error).__name__}") from None
