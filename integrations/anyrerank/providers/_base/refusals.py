"""What a provider says when it refuses, without what it quotes of our request."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeAlias
from urllib.parse import unquote, unquote_plus, urlsplit

import orjson
from pydantic_core import SchemaValidator, core_schema

from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import RerankRequest
from anyrerank.providers._base.answers import dig


def message_in(body: Any, content: bytes) -> str:
    """The provider's own words in an error body, whatever its shape; of validation lists only place and message."""
    for path in (
        ("error", "message"),
        ("error", "reason"),
        ("error",),
        ("detail", "error"),
        ("detail",),
        ("errors",),
        ("message",),
        ("Message",),
        ("title",),
        ("errorMessage",),
    ):
        found = dig(body, *path)
        if isinstance(found, str) and found.strip():
            return found.strip()
        if isinstance(found, list) and found:
            return "; ".join(_validation_line(item) for item in found[:5])
    return " ".join(content[:10_000].decode("utf-8", "replace").split())


def _validation_line(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    place = item.get("loc")
    prefix = f"{'.'.join(map(str, place))}: " if isinstance(place, list) else ""
    return f"{prefix}{item.get('msg') or item.get('message') or 'refused'}"


REDACTED = "[...]"
"""What stands in a message for what was taken out of it."""


def redact(message: str, secrets: Iterable[str], request: RerankRequest) -> str:
    """`message`, at most 300 characters of it, without the secrets and without what it quotes of query and documents.

    Servers quote their input in errors. A quotation is the whole of a text, or 12 characters of one in a row, or 8 of a
    secret. It may differ in letter case and in white space, and be escaped as JSON, as Python or for a URL.
    """
    return redacted((message,), secrets, request)[0]


def redacted(messages: Iterable[str], secrets: Iterable[str], request: RerankRequest) -> list[str]:
    """`redact` for several messages, which takes hardly longer than for one."""
    secrets, texts = list(secrets), list(_texts(request))
    whole = {_fold(short) for text in texts if _SHORTEST < len(short := _beginning(text)) < _QUOTED}
    whole |= {_fold(" ".join(secret.split())) for secret in secrets if len(secret) >= _QUOTED_OF_A_SECRET}
    words = [secret for secret in secrets if _SHORTEST < len(secret) < _QUOTED_OF_A_SECRET]
    runs = [secret for secret in secrets if not _SEAM.search(secret) and any(map(str.isdigit, secret))]
    examined = [_without(message, words)[:_EXAMINED] for message in messages]
    readings = [_readings(message) for message in examined]
    every = [_said(reading) for each in readings for reading in each]
    known = _shared(texts, every, _QUOTED) | _shared(runs, every, _QUOTED_OF_A_SECRET) | whole
    lengths = {len(text) for text in known}
    return [
        _blanked(message, {place for reading in each for place in _places(reading, known, lengths)})
        for message, each in zip(examined, readings, strict=True)
    ]


_SHOWN, _KEPT, _EXAMINED = 300, 600, 750
"""How much of a message is shown at most, what that is taken from, and where the end of a quotation in it may be."""
_SHORTEST, _QUOTED, _QUOTED_OF_A_SECRET = 3, 12, 8
_SEAM = re.compile(r"\s|://")
"""What has one is a secret as a whole: runs across it, such as `Bearer s` or `https://`, are anybody's words. So are
those of what has no digit, such as the key `no-key-required`."""


def _without(message: str, words: Iterable[str]) -> str:
    """`message` without secrets as short as words: in their own letter case, for `EMPTY` is a key that many use."""
    for word in words:
        message = message.replace(word, REDACTED)
    return message


def _blanked(message: str, places: Set[int]) -> str:
    marked = "".join("\0" if place in places else letter for place, letter in enumerate(message[:_KEPT]))
    return re.sub("\0+", REDACTED, marked)[:_SHOWN]


def _texts(request: RerankRequest) -> Iterator[str]:
    yield request.query
    for document in request.documents:
        if isinstance(document, str):
            yield document
        else:
            yield from (str(value) for value in document.values() if value is not None and not isinstance(value, bool))


def _beginning(text: str) -> str:
    """`text` with its white space folded, as far as that tells whether it is shorter than a quotation."""
    return " ".join(text.split(maxsplit=_QUOTED // 2))


def _fold(text: str) -> str:
    """`text` in lower case, with spaces for other white space."""
    if text.isascii():
        return text.translate(_ASCII_SPACES).casefold()
    return _OTHER_SPACE.sub(" ", text).casefold().encode("utf-8", "replace").decode()


_ASCII_SPACES = str.maketrans(dict.fromkeys("\t\n\r\v\f\x1c\x1d\x1e\x1f", " "))
_OTHER_SPACE = re.compile(r"[^\S ]")


def _with_single_spaces(text: str) -> str:
    while "  " in text:
        text = text.replace("  ", " ")
    return text


_Reading: TypeAlias = list[tuple[str, int, int]]
"""What a message says: its letters, and the start and end of the place where each is written."""


def _said(reading: _Reading) -> str:
    return "".join(letter for letter, _, _ in reading)


def _readings(message: str) -> list[_Reading]:
    """What a message says as it is, and with one or two layers of escapes undone."""
    latest: list[_Reading] = [[(letter, place, place + 1) for place, letter in enumerate(message)]]
    found = list(latest)
    for _ in range(2):
        latest = [undone for reading in latest for undone in _unescaped(reading)]
        found += latest
    return [form for reading in found for form in _alike(reading)]


def _unescaped(reading: _Reading) -> Iterator[_Reading]:
    text = _said(reading)
    for escape, meaning in _ESCAPES:
        undone: _Reading = []
        end = 0
        for found in escape.finditer(text):
            (_, first, _), (_, _, last) = reading[found.start()], reading[found.end() - 1]
            undone += [*reading[end : found.start()], *((letter, first, last) for letter in meaning(found[0]))]
            end = found.end()
        if end:
            yield undone + reading[end:]


def _of_a_backslash(escape: str) -> str:
    kind, digits = escape[1], escape[2:]
    if not digits:
        return _CONTROLS.get(kind, kind)
    return str(json.loads(f'"{escape}"')) if kind == "u" else chr(int(digits, 16))


_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HEX = "[0-9A-Fa-f]"
_ESCAPES: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (
        re.compile(
            rf"\\(?:u[Dd][89ABab]{_HEX}{{2}}\\u[Dd][C-Fc-f]{_HEX}{{2}}|u{_HEX}{{4}}"
            rf"|U(?:000{_HEX}|0010){_HEX}{{4}}|x{_HEX}{{2}}|.)",
            re.DOTALL,
        ),
        _of_a_backslash,
    ),
    (
        re.compile(
            rf"\+|%[0-7]{_HEX}|%[C-Dc-d]{_HEX}%{_HEX}{{2}}|%[Ee]{_HEX}(?:%{_HEX}{{2}}){{2}}"
            rf"|%[Ff]{_HEX}(?:%{_HEX}{{2}}){{3}}"
        ),
        unquote_plus,
    ),
)
"""What an escaped character looks like, and what tells which it is."""


def _alike(reading: _Reading) -> Iterator[_Reading]:
    """A reading as `_fold` leaves it, and with each run of spaces as one."""
    folded = [(each, start, end) for letter, start, end in reading for each in _fold(letter)]
    yield folded
    before = ["", *(letter for letter, _, _ in folded)]
    single = [each for each, last in zip(folded, before, strict=False) if not each[0] == last == " "]
    if len(single) < len(folded):
        yield single


def _shared(texts: Sequence[str], said: Sequence[str], length: int) -> set[str]:
    """Every run of so many characters that is both in one of `texts`, folded, and in something that is `said`."""
    wanted = sorted(set[str]().union(*(_runs(text, length) for text in said)))
    folded = "\0".join(map(_fold, texts))
    forms = {folded, _with_single_spaces(folded)}
    shared: set[str] = set()
    for first in range(0, len(wanted), _WANTED_AT_ONCE):
        left = {run: _escaped(run) for run in wanted[first : first + _WANTED_AT_ONCE]}
        holds_any = _finder(left.values())
        for piece in (form[at : at + _PIECE + length] for form in forms for at in range(0, len(form), _PIECE)):
            if left and holds_any(piece):
                found = left.keys() & _runs(piece, length)
                shared |= found
                left = {run: pattern for run, pattern in left.items() if run not in found}
                if not found or len(found) > len(left):  # a new finder takes as long as the old one for a megabyte
                    holds_any = _finder(left.values())
    return shared


_PIECE, _WANTED_AT_ONCE = 4096, 2000


def _runs(text: str, length: int) -> set[str]:
    return {text[start : start + length] for start in range(len(text) - length + 1)}


def _finder(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a text holds any of some runs.

    This is asked of megabytes on an event loop. `in` takes as long for one run as the expressions of pydantic-core take
    for hundreds, and those of `re` are slower than both.
    """
    return SchemaValidator(core_schema.str_schema(pattern="|".join(patterns))).isinstance_python


def _escaped(run: str) -> str:
    return "".join(letter if letter.isalnum() else rf"\x{{{ord(letter):x}}}" for letter in run)


def _places(reading: _Reading, known: Set[str], lengths: Iterable[int]) -> Iterator[int]:
    """The places in a message of what a reading of it has in common with `known`."""
    said = _said(reading)
    for length in lengths:
        for start in range(len(said) - length + 1):
            if said[start : start + length] in known:
                yield from range(reading[start][1], reading[start + length - 1][2])


def json_or_none(content: bytes) -> Any:
    """The JSON in `content`, or `None` where it is none."""
    try:
        return orjson.loads(content)
    except ValueError:
        return None


def request_id_in(body: Any) -> str | None:
    """The id of a request in an error body."""
    for name in ("requestId", "request_id", "trace", "id"):
        found = dig(body, name)
        if isinstance(found, str) and found:
            return found
    return None


def start_of(response: HttpResponse) -> str:
    """What an answer that is not JSON begins with, without quoting it."""
    start = response.content[:64].lstrip().lower()
    if not response.content:
        return "nothing: the body is empty"
    if start.startswith(b"<"):
        return "'<': an HTML page"
    kind = response.headers.get("content-type", "unknown type")
    return f"something else ({len(response.content)} bytes of {kind})"


def host_of(location: str) -> str:
    """Where a redirect leads."""
    return urlsplit(location).netloc.rpartition("@")[2] or "the same host"


def query_values(url: str) -> Iterator[str]:
    """What may be secret in a query string, with a plus sign as one and as the space that it is in a form."""
    for pair in urlsplit(url).query.split("&"):
        name, _, value = pair.partition("=")
        if not name.endswith("version"):
            yield from (unquote(value), unquote_plus(value))


def login_in(header: str) -> tuple[str, ...]:
    """User and password of a Basic header, together and apart."""
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        return ()
    try:
        login = base64.b64decode(encoded).decode()
    except ValueError:
        return ()
    return (login, *login.split(":", 1))
