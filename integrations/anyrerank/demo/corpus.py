"""The text: topics of Python's language reference, frozen in `data`, and passages of about a hundred words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

VERSION = "3.13"
WORDS = 100

_DRAWN = re.compile(r"^ *[-=+|*~^][-=+|*~^ ]{2,}\n", re.MULTILINE)
_ROW = re.compile(r"^ *\|(.*)\| *$", re.MULTILINE)
_BORDER = re.compile(r"(?:^| +)\| *")
_BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a topic; `topic` is what `help()` calls it."""

    topic: str
    text: str


@cache
def topics() -> Mapping[str, str]:
    """The text of each topic, without the lines drawn under its headings and around its tables."""
    frozen = files("anyrerank.demo").joinpath("data", "language_reference.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(frozen)
    return {topic: _ROW.sub(_cells, _DRAWN.sub("", text)) for topic, text in found.items()}


@cache
def passages(words: int = WORDS) -> tuple[Passage, ...]:
    """Every topic cut into passages of at most `words` words, at the end of a paragraph where one is near."""
    return tuple(Passage(topic, piece) for topic, text in topics().items() for piece in _pieces(text, words))


def paragraphs(text: str) -> list[str]:
    """What blank lines separate, blank lines included, so that joining gives `text` again."""
    ends = [match.end() for match in _BLANK_LINES.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end]


def _cells(row: re.Match[str]) -> str:
    return _BORDER.sub("  ", row[1].strip()).strip()


def _pieces(text: str, words: int) -> Iterator[str]:
    held: list[str] = []
    count = 0
    for part in _short(text, words):
        size = len(part.split())
        if held and count + size > words:
            yield "".join(held).strip()
            held, count = [], 0
        held.append(part)
        count += size
    if count:
        yield "".join(held).strip()


def _short(text: str, words: int) -> Iterator[str]:
    """Paragraphs, and the lines of those that are too long for one passage."""
    for paragraph in paragraphs(text):
        if len(paragraph.split()) <= words:
            yield paragraph
        else:
            yield from paragraph.splitlines(keepends=True)
