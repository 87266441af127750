"""The text of the demo: topics of Python's language reference, in passages of at most a hundred words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

VERSION = "3.13"
WORDS = 100
"""Maximum number of words in a passage."""

_DRAWN_LINE = re.compile(r"^ *[-=+|*~^][-=+|*~^ ]{2,}\n", re.MULTILINE)
_TABLE_ROW = re.compile(r"^ *\|(.*)\| *$", re.MULTILINE)
_CELL_BORDER = re.compile(r"(?:^| +)\| *")
_BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a topic.

    Attributes:
        topic: Name of the topic in `help()`.
        text: The text.
    """

    topic: str
    text: str


@cache
def topics() -> Mapping[str, str]:
    """The text of each topic, without the lines drawn under headings and around tables."""
    content = files("anyrerank.demo").joinpath("data", "language_reference.json").read_text(encoding="utf-8")
    texts: dict[str, str] = json.loads(content)
    return {topic: _TABLE_ROW.sub(_cells, _DRAWN_LINE.sub("", text)) for topic, text in texts.items()}


@cache
def passages() -> tuple[Passage, ...]:
    """Every topic in passages of at most `WORDS` words, split between paragraphs where possible."""
    return tuple(Passage(topic, piece) for topic, text in topics().items() for piece in _pieces(text))


def paragraphs(text: str) -> list[str]:
    """Split `text` after blank lines, which are kept: joining the paragraphs gives `text`."""
    ends = [match.end() for match in _BLANK_LINES.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end]


def _cells(row: re.Match[str]) -> str:
    return _CELL_BORDER.sub("  ", row[1].strip()).strip()


def _pieces(text: str) -> Iterator[str]:
    piece: list[str] = []
    count = 0
    for part in _parts(text):
        size = len(part.split())
        if piece and count + size > WORDS:
            yield "".join(piece).strip()
            piece, count = [], 0
        piece.append(part)
        count += size
    if count:
        yield "".join(piece).strip()


def _parts(text: str) -> Iterator[str]:
    """Paragraphs, or the lines of a paragraph that is too long for one passage."""
    for paragraph in paragraphs(text):
        if len(paragraph.split()) <= WORDS:
            yield paragraph
        else:
            yield from paragraph.splitlines(keepends=True)
