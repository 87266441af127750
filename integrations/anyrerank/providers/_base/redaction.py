"""Withholding error messages that quote the request: servers often quote their input, sometimes escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote_plus

from pydantic_core import SchemaValidator, core_schema

from anyrerank._core.types import RerankRequest, repaired

_SHOWN, _SEARCHED = 300, 600
"""Characters of a message that are shown at most, and that are searched: a quotation may go on after the cut."""
_SHORTEST, _RUN, _RUN_OF_SECRET = 4, 12, 8
_ERROR_CODE = re.compile(r"[A-Za-z][\w.-]{0,63}", re.ASCII)


class Redactor:
    """Removes messages and ids that quote the query, a document or a secret of a request.

    A quotation is a whole text of at least 4 characters, 12 characters of a text in a row, or 8 of a secret. Letter
    case and white space do not count, and up to two layers of JSON, Python or URL escapes are undone.
    """

    def __init__(self, request: RerankRequest, secrets: Iterable[str] = ()) -> None:
        texts = [_squeezed(text) for text in _texts(request)]
        self._long = [text for text in texts if len(text) >= _RUN]
        self._short = {text for text in texts if _SHORTEST <= len(text) < _RUN}
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST]

    def message(self, message: str, code: str | None = None) -> str:
        """The first 300 characters of `message` on one line, or the error `code` and why the message is withheld."""
        searched = message[:_SEARCHED]
        line = " ".join(searched.split())
        if "\ufffd" in line or not line.isprintable():
            reason = "it cannot be decoded"
        elif self.quoted_in(searched):
            reason = "it quotes the request"
        else:
            return line[:_SHOWN]
        is_shown = code and _ERROR_CODE.fullmatch(code) and not self.quoted_in(code)
        return f"{f'{code}: ' if is_shown else ''}the message is withheld because {reason}"

    def request_id(self, value: str | None) -> str | None:
        """A request id, or `None` when it quotes something or is too long to be one."""
        return value if value and len(value) <= _SHOWN and not self.quoted_in(value) else None

    def quoted_in(self, text: str) -> bool:
        """Whether `text` quotes the request or a secret."""
        readings = _readings(text)
        if any(_quotes_secret(secret, text, readings) for secret in self._secrets):
            return True
        if any(short in reading for reading in readings for short in self._short):
            return True
        runs = {run for reading in readings for run in _runs(reading, _RUN)}
        return bool(runs) and any(map(_finder(runs), self._long))


def _texts(request: RerankRequest) -> Iterator[str]:
    yield request.query
    for document in request.documents:
        if isinstance(document, str):
            yield document
        else:
            yield from (str(value) for value in document.values() if value is not None and not isinstance(value, bool))


def _squeezed(text: str) -> str:
    """`text` in one letter case, without white space and unpaired surrogates, which are sent as U+FFFD."""
    folded = repaired(text).casefold().replace("\u00a0", "").replace("\u3000", "").replace("\ufffd", "")
    return folded.encode().translate(None, b" \t\n\r\v\f").decode()


def _readings(text: str) -> set[str]:
    """`text` as it is, and with one and two layers of escapes undone; all squeezed."""
    found = {text}
    for _ in range(2):
        found |= {undo(each) for each in found for undo in (_without_backslashes, unquote_plus)}
    return set(map(_squeezed, found))


_ESCAPE = re.compile(r"\\(?:u(hhhh)|U(000hhhhh|0010hhhh)|x(hh)|(.))".replace("h", "[0-9A-Fa-f]"), re.DOTALL)


def _without_backslashes(text: str) -> str:
    with_halves = _ESCAPE.sub(_character, text)
    return with_halves.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")  # joins pairs of surrogates


def _character(escape: re.Match[str]) -> str:
    if digits := escape[1] or escape[2] or escape[3]:
        return chr(int(digits, 16))
    return " " if escape[4] in "bfnrtv" else escape[4]


def _runs(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))


def _finder(runs: Iterable[str]) -> Callable[[str], bool]:
    """A function that returns whether a text contains any of `runs`, in one pass: it may run on an event loop.

    For hundreds of strings in 5 MB, Pydantic's regular expressions take 10 ms, `in` and those of `re` about a second.
    """
    pattern = "|".join(map(re.escape, runs))
    return SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python


def _quotes_secret(secret: str, text: str, readings: Iterable[str]) -> bool:
    if len(secret) < _RUN_OF_SECRET:
        return secret in text  # in its own letter case: EMPTY is a key that many use
    # parts of `Bearer s`, of `https://` or of a key without a digit, such as `no-key-required`, are ordinary words
    is_random = not re.search(r"\s|://", secret) and any(map(str.isdigit, secret))
    whole = _squeezed(secret)
    parts = list(_runs(whole, _RUN_OF_SECRET)) if is_random else [whole]
    return any(part in reading for reading in readings for part in parts)
