"""Lua scripts, which Redis runs as one atomic command."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Part = bytes | str | int | float
Command = tuple[Part, ...]
"""A command and its arguments."""

_texts: dict[str, str] = {}
"""Texts by digest: a server that was restarted has lost its scripts."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script in a file of a package, which is read when it is used first.

    Attributes:
        package: Full name of the package.
        name: Name of the file, without `.lua`.
    """

    package: str
    name: str

    def command(self, keys: Sequence[Part], args: Sequence[Part]) -> Command:
        """The command that runs the script, by its digest."""
        return ("EVALSHA", _digest(self), len(keys), *map(_encoded, keys), *map(_encoded, args))


def _encoded(part: Part) -> Part:
    """A name from a caller may contain an unpaired surrogate, which the client refuses to send."""
    return part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part


@cache
def _digest(script: Script) -> str:
    text = files(script.package).joinpath(f"{script.name}.lua").read_text("utf-8")
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    _texts[sha] = text
    return sha


def in_full(command: Command) -> Command:
    """The command with the text of the script in the place of its digest."""
    return ("EVAL", _texts[str(command[1])], *command[2:])


def repeated(command: Command) -> Command:
    """The command with 1 as its last argument, which means that it may have run before."""
    return (*command[:-1], 1)
