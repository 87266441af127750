"""Lua scripts, which Redis runs as one atomic command."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

Part = bytes | str | int | float
Command = tuple[Part, ...]
"""A command and its arguments."""

_texts: dict[str, str] = {}
"""By digest: a server that was restarted does not know them any more."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script that the server may know by its digest.

    Attributes:
        sha: The digest, in hexadecimal.
    """

    sha: str

    def command(self, keys: Sequence[Part], args: Sequence[Part]) -> Command:
        """The command that runs the script."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


def script(package: str, name: str) -> Script:
    """The script in a file of a package.

    Args:
        package: Full name of the package.
        name: Name of the file, without `.lua`.
    """
    text = files(package).joinpath(f"{name}.lua").read_text("utf-8")
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    _texts[sha] = text
    return Script(sha)


def in_full(command: Command) -> Command:
    """The command with the text of the script in the place of its digest."""
    return ("EVAL", _texts[str(command[1])], *command[2:])


def repeated(command: Command) -> Command:
    """A command whose last argument says that it may have run before."""
    return (*command[:-1], 1)
