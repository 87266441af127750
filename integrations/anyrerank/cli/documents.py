"""Reading documents from a file or standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from anyrerank._core.types import Document
from anyrerank.errors import BadRequestError


def read_documents(file: Path | None) -> list[Document]:
    """Read documents from a file, or from standard input for `None` or `-`.

    Raises:
        BadRequestError: It cannot be read, or `parse_documents` refuses its content.
    """
    return parse_documents(_read(file))


def parse_documents(content: bytes) -> list[Document]:
    """Parse one document a line: JSON objects if the first line that is not blank is one, else texts.

    Raises:
        BadRequestError: The content is not UTF-8, or a line of a JSON file is not an object with a `text`, or nested
            too deeply.
    """
    try:
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise BadRequestError(f"documents must be UTF-8; byte {error.start} cannot be decoded") from None
    if lines == [""]:
        return []
    if _json_object(*next((line, number) for number, line in enumerate(lines, start=1) if line.strip())) is None:
        return list(lines)
    return [_json_document(line, number) for number, line in enumerate(lines, start=1)]


def _json_document(line: str, number: int) -> Document:
    if not line.strip():
        return ""  # keeps the index of a result equal to the number of its line
    document = _json_object(line, number)
    if document is None or not isinstance(document.get("text"), str):
        raise BadRequestError(f"line {number} must be a JSON object with a string 'text', as the first line is JSON")
    return document


def _json_object(line: str, number: int) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    except RecursionError:
        raise BadRequestError(f"the JSON of line {number} is nested too deeply") from None
    return value if isinstance(value, dict) else None


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
