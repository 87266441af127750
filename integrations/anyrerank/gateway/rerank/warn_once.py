"""Logging fields of requests that have no effect, once for each name."""

from __future__ import annotations

import logging
from collections.abc import Iterable

_log = logging.getLogger("anyrerank.gateway")

_LIMIT = 200
"""Maximum number of names that are stored, since clients can send any number."""
_LONGEST = 40


class WarnOnce:
    """Logs each name once, for one path."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def ignored(self, dialect: str, names: Iterable[str]) -> None:
        """Fields that mean nothing to a dialect."""
        self._log(names, f"requests in the dialect {dialect} hold %s, which has no effect")

    def dropped(self, deployment: str, names: Iterable[str]) -> None:
        """Options that a deployment does not have."""
        self._log(names, f"{deployment} has no option %s, which requests hold: it was dropped")

    def _log(self, names: Iterable[str], message: str) -> None:
        for name in names:
            line = message % (name if _is_name(name) else "a field with an unusual name")
            if line not in self._names and len(self._names) < _LIMIT:
                self._names.add(line)
                _log.warning(line)


def _is_name(name: str) -> bool:
    """Whether it looks like the name of a field; anything else may be a part of a text."""
    return len(name) <= _LONGEST and name.isascii() and name.replace(".", "_").isidentifier()
