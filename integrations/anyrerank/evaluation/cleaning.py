"""Cleaning evaluation data: entries that cannot be used are skipped, and counted in one warning."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from anyrerank.errors import BadRequestError
from anyrerank.evaluation.forms import check_text, grades_of, ids_of, is_missing

_GRADE = re.compile(r"[+-]?\d{1,9}(\.0*)?")


class Skipped:
    """Counts of skipped entries by kind, with an example of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, kind: str, example: str) -> None:
        """Count one more of a kind, such as "labels of unknown documents"."""
        self._counts[kind] += 1
        self._examples.setdefault(kind, example)

    def __str__(self) -> str:
        return "; ".join(f"{count} {kind} ({self._examples[kind]})" for kind, count in self._counts.items())

    def __bool__(self) -> bool:
        return bool(self._counts)


@contextmanager
def one_warning(source: object) -> Iterator[Skipped]:
    """Count the entries that are skipped while reading `source`, and warn about them once at the end."""
    skipped = Skipped()
    yield skipped
    if skipped:
        warnings.warn(f"{source}: skipped {skipped}", stacklevel=4)


def whole_grade(value: Any, where: str) -> int:
    """A grade as an integer: `1`, `1.0`, `"1"` and `"1.0"` are the same.

    Args:
        value: A number, or its text in a file.
        where: File and line, or query and document, for the error.

    Raises:
        BadRequestError: It is not a whole number of at most 9 digits.
    """
    if isinstance(value, str):
        number = float(value) if _GRADE.fullmatch(value.strip()) else math.nan
    else:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
    if not (math.isfinite(number) and number == int(number) and abs(number) < 1e9):
        raise BadRequestError(f"{where}: a grade must be a whole number of at most 9 digits")
    return int(number)


def known_queries(queries: Mapping[str, Any], skipped: Skipped) -> dict[str, str]:
    """The queries that have a text: no reranker can be asked without one."""
    found = {}
    for query, text in queries.items():
        if isinstance(text, str) and text.strip():
            found[query] = text
        else:
            skipped.add("queries without a text", f"for example {query}")
    return found


def known_documents(documents: Mapping[str, Any], skipped: Skipped) -> Mapping[str, Any]:
    """The documents, blank where the text is missing.

    Raises:
        BadRequestError: One of them is neither a text nor a mapping.
    """
    for document, text in documents.items():
        check_text(text, f"document {document}", mapping=True)
    blank = [document for document, text in documents.items() if is_missing(text)]
    for document in blank:
        skipped.add("texts of documents, which are missing", f"for example {document}")
    return {**documents, **dict.fromkeys(blank, "")} if blank else documents


def known_labels(
    labels: Mapping[str, Mapping[str, Any]], queries: Collection[str], documents: Collection[str], skipped: Skipped
) -> dict[str, dict[str, int]]:
    """The labels of known queries and documents, as integers.

    Raises:
        BadRequestError: The grades of a query are neither a mapping nor a list of ids, a grade is not a whole number,
            or no label refers to a known query and document.
    """
    found: dict[str, dict[str, int]] = {}
    labels = {query: grades_of(grades, f"the labels of query {query}") for query, grades in labels.items()}
    for query, grades in labels.items():
        if query not in queries:
            skipped.add("labelled queries that are missing from the queries", f"for example {query}")
            continue
        found[query] = {}
        for document, grade in grades.items():
            if document in documents:
                found[query][document] = whole_grade(grade, f"label of document {document} for query {query}")
            else:
                skipped.add("labels of documents that are missing", f"for example {document} of query {query}")
    if any(labels.values()) and not any(found.values()):
        raise BadRequestError(f"no label refers to a known query and document: {skipped}")
    return found


def known_candidates(
    candidates: Mapping[str, Sequence[str]], queries: Collection[str], documents: Collection[str], skipped: Skipped
) -> dict[str, list[str]]:
    """The candidates of known queries, without unknown documents and repetitions.

    Raises:
        BadRequestError: The candidates of a query are not a list, or none refers to a known query and document.
    """
    found: dict[str, list[str]] = {}
    candidates = {query: ids_of(ids, f"the candidates of query {query}") for query, ids in candidates.items()}
    for query, ids in candidates.items():
        if query in queries:
            found[query] = _known_once(query, ids, documents, skipped)
        else:
            skipped.add("queries with candidates that are missing from the queries", f"for example {query}")
    if any(candidates.values()) and not any(found.values()):
        raise BadRequestError(f"no candidate refers to a known query and document: {skipped}")
    return found


def _known_once(query: str, ids: Sequence[str], documents: Collection[str], skipped: Skipped) -> list[str]:
    found: dict[str, None] = {}
    for document in ids:
        if document not in documents:
            skipped.add("candidates that are missing from the documents", f"for example {document} of query {query}")
        elif document in found:
            skipped.add("candidates found twice", f"for example {document} of query {query}")
        else:
            found[document] = None
    return list(found)
