"""Output of commands: tables, JSON, and text that is safe for a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNLIMITED_WIDTH = 100_000
_MIN_PLAIN_WIDTH = 100
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNBROKEN_COLUMNS = ("model", "key", "options", "extra", "starts anew", "expires")


def console(plain_width: int = _UNLIMITED_WIDTH) -> Console:
    """A console as wide as the terminal.

    Args:
        plain_width: Number of columns without a terminal and without `COLUMNS`; by default so many that no line breaks.
    """
    made = Console(highlight=False)
    if not made.is_terminal:
        columns = os.environ.get("COLUMNS", "")
        made.width = max(int(columns), _MIN_PLAIN_WIDTH) if columns.isdecimal() else plain_width
    return made


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of plain texts."""
    made = Table(box=SIMPLE, pad_edge=False)
    for name in columns:
        made.add_column(name, no_wrap=name in _UNBROKEN_COLUMNS, min_width=10, overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def fits(console: Console, table: Table) -> bool:
    """Whether the console is wide enough to show the table without breaking lines."""
    unlimited = console.options.update_width(_UNLIMITED_WIDTH)
    return console.measure(table, options=unlimited).maximum <= console.width


def as_json(value: object) -> str:
    """`value` as indented JSON, escaped where standard output is not UTF-8."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, indent=2, ensure_ascii=not is_utf8)


def without_control_characters(text: str, keep: str = "") -> str:
    """`text` with control characters, which a terminal would execute, replaced by U+FFFD.

    Args:
        text: Any text.
        keep: Control characters that are not replaced, such as a line feed.
    """
    return _CONTROL_CHARACTERS.sub(lambda match: match[0] if match[0] in keep else "\N{REPLACEMENT CHARACTER}", text)
