"""Rows of the input: a query and its candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from anyrerank.errors import BadRequestError

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
_OF_A_BODY = ("top_n", "max_tokens_per_doc", "rank_fields")
"""Fields of Cohere's body that change the result. Others, such as `model`, are those of the run."""

QUERY = "query"
DOCUMENTS = ("candidates", "documents")
IDS = ("id", "custom_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the input.

    Attributes:
        index: Its place in its chunk.
        query, documents: What to rank; checked when it is asked for.
        options: Options of this row alone.
        problem: Why it cannot be asked for.
    """

    index: int
    query: Any = field(default=None, repr=False)
    documents: Any = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)
    problem: BadRequestError | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """Which fields of the input are read.

    Attributes:
        query: Name of the query.
        documents: Name of the candidates; by default `candidates` or `documents`, whichever there is.
        keep: Names of the fields that are copied to the output; by default the id.
    """

    query: str = QUERY
    documents: str | None = None
    keep: Sequence[str] | None = None

    @property
    def document_names(self) -> Sequence[str]:
        """Names under which the candidates may be."""
        return DOCUMENTS if self.documents is None else (self.documents,)

    @property
    def names(self) -> dict[str, object]:
        """For the manifest."""
        keep = None if self.keep is None else list(self.keep)
        return {"query": self.query, "documents": self.documents, "keep": keep}


def row_of(found: Mapping[str, Any], columns: Columns, index: int, where: str) -> Row:
    """The row in a JSON object: flat, or with Cohere's body in `body`.

    Args:
        found: The object.
        columns: What to read.
        index: Place in the chunk.
        where: For the message of a problem, such as `line 7`.
    """
    body, options = found, _NO_OPTIONS
    if isinstance(nested := found.get("body"), Mapping) and columns.query not in found:
        body, options = nested, {name: nested[name] for name in _OF_A_BODY if nested.get(name) is not None}
    name = next((name for name in columns.document_names if name in body), None)
    missing = [columns.query] if columns.query not in body else []
    if name is None:
        missing.append(" or ".join(columns.document_names))
    if missing:
        fields = ", ".join(sorted(map(str, body)))[:200] or "none"
        problem = BadRequestError(f"{where} has no {' and no '.join(missing)}; its fields: {fields}")
        return Row(index=index, problem=problem)
    return checked(index, body[columns.query], body[name or ""], options, where)


def checked(index: int, query: Any, documents: Any, options: Mapping[str, Any], where: str) -> Row:
    """A row whose query and candidates have the right types; what is in the candidates is checked by the call."""
    if not isinstance(query, str):
        problem = BadRequestError(f"the query of {where} must be a text, got {_kind(query)}")
    elif isinstance(documents, str | Mapping) or not hasattr(documents, "__len__"):
        problem = BadRequestError(f"the candidates of {where} must be a list, got {_kind(documents)}")
    else:
        return Row(index=index, query=query, documents=documents, options=options)
    return Row(index=index, problem=problem)


def kept_of(found: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The fields of a JSON object that are copied to the output."""
    if columns.keep is None:
        return {name: found[name] for name in IDS if name in found}
    return {name: found.get(name) for name in columns.keep}


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
