"""Reading documents from a file or standard input."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import typer

from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError

_TEXT_FIELDS = ("text", "content", "page_content")
_OBJECTS = re.compile(r"\s*\[\s*(\{|\"|$)")
"""The beginning of a JSON array of objects or strings."""


def read_documents(file: Path | None) -> list[Document]:
    """Read documents from a file, or from standard input for `None` or `-`.

    Raises:
        BadRequestError: It cannot be read, or `parse_documents` refuses its content.
    """
    return parse_documents(_read(file), is_json=file is not None and file.suffix.lower() in _JSON_SUFFIXES)


_JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})


def parse_documents(content: bytes, *, is_json: bool = False) -> list[Document]:
    """Parse one document a line, or one JSON array of documents.

    Lines are JSON objects if the first line that is not blank is one, else texts. In JSON a document is a string or an
    object with a `text`, or with a `content` or `page_content` in its place.

    Args:
        content: Of the file.
        is_json: Whether it must be JSON: an array, an object with `documents`, or one document a line.

    Raises:
        BadRequestError: The content is not UTF-8 or not the JSON that it must be, or a document in JSON has no text or
            is nested too deeply.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequestError(f"documents must be UTF-8; byte {error.start} cannot be decoded") from None
    lines = text.replace("\r\n", "\n").rstrip().split("\n")
    if lines == [""]:
        return []
    if (array := _json_array(text)) is not None:
        return [_document(each, f"element {index}") for index, each in enumerate(array)]
    if is_json:
        return _json_file(text, lines)
    first = next((line, number) for number, line in enumerate(lines, start=1) if line.strip())
    if not isinstance(_json_value(*first), dict):
        return list(lines)
    return [_json_line(line, number, _OBJECT_AS_FIRST) for number, line in enumerate(lines, start=1)]


def _json_file(text: str, lines: list[str]) -> list[Document]:
    """The documents in JSON that is no array of strings and objects."""
    try:
        value = json.loads(text)
    except ValueError:
        return [_json_line(line, number, _OBJECT_OR_STRING) for number, line in enumerate(lines, start=1)]
    except RecursionError:
        raise BadRequestError("the JSON is nested too deeply") from None
    found = value.get("documents", [value]) if isinstance(value, dict) else value
    found = [found] if isinstance(value, str) else found
    if not isinstance(found, list) or not all(isinstance(each, str | dict) for each in found):
        raise BadRequestError("the JSON must be an array of documents: strings, or objects with a 'text'")
    return [_document(each, f"element {index}") for index, each in enumerate(found)]


_Line = tuple[tuple[type, ...], str]
"""The types of JSON values that a line may hold, and what it must be, for the error."""
_OBJECT_OR_STRING: _Line = (str, dict), "a JSON object with a string 'text', or a JSON string"
_OBJECT_AS_FIRST: _Line = (dict,), "a JSON object with a string 'text', as the first line is JSON"


def _json_line(line: str, number: int, wanted: _Line) -> Document:
    if not line.strip():
        return ""  # keeps the index of a result equal to the number of its line
    types, must = wanted
    value = _json_value(line, number)
    if type(value) not in types:
        raise BadRequestError(f"line {number} must be {must}")
    return _document(value, f"line {number}")


def _json_array(text: str) -> list[Any] | None:
    """The elements, if the whole text is a JSON array of strings and objects.

    Raises:
        BadRequestError: It begins like an array of objects, and is not valid JSON.
    """
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        if not _OBJECTS.match(text):
            return None
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise BadRequestError(f"line {line}: the JSON array of documents is malformed") from None
    except RecursionError:
        raise BadRequestError("the JSON of line 1 is nested too deeply") from None
    return value if all(isinstance(each, str | dict) for each in value) else None


def _document(value: str | dict[str, Any], where: str) -> Document:
    """The document, with its text under `text`."""
    if isinstance(value, str):
        return value
    name = next((name for name in _TEXT_FIELDS if isinstance(value.get(name), str)), None)
    if name is None and any(field in value and value[field] is None for field in _TEXT_FIELDS):
        return {**value, "text": ""}
    if name is None:
        fields = ", ".join(sorted(value))[:80] or "none"
        raise BadRequestError(f"{where} must be a JSON object with a string 'text', its fields: {fields}")
    return value if name == "text" else {"text": value[name], **value}


def _json_value(line: str, number: int) -> Any:
    """The value in a line, or `None` if it is not JSON."""
    try:
        return json.loads(line)
    except ValueError:
        return None
    except RecursionError:
        raise BadRequestError(f"the JSON of line {number} is nested too deeply") from None


def _read(file: Path | None) -> bytes:
    if file is not None and file != Path("-"):
        try:
            return file.read_bytes()
        except OSError as error:
            raise BadRequestError(f"{file} cannot be read: {error.strerror}") from None
    if sys.stdin is None:
        raise BadRequestError("there is no standard input to read documents from: name a file")
    if sys.stdin.isatty():
        typer.echo("reading documents from standard input, one a line, until end of file", err=True)
    return sys.stdin.buffer.read()
