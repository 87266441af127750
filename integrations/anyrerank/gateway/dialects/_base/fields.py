"""Reads the fields of a request body, as leniently as existing clients need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyrerank._core.types import Document
from anyrerank.gateway.errors import bad_request

_LONGEST_COUNT = 20
"""Characters of an integer in a string; Python refuses to read thousands of digits."""


class Fields:
    """The fields of a JSON object; it remembers which of them were read.

    Each method returns `None` (or its default) for a field that is missing or null.

    Raises:
        GatewayError: A field has the wrong type. The message names the field and the type that it has, not its value.
    """

    def __init__(self, body: Mapping[str, Any], prefix: str = "") -> None:
        self.body = body
        self._prefix = prefix
        self._read: set[str] = set()

    def unread(self) -> tuple[str, ...]:
        """Names of the fields that nothing has read, sorted."""
        return tuple(sorted(f"{self._prefix}{name}" for name in self.body.keys() - self._read))

    def take(self, *names: str) -> Any:
        """The value of the first of `names` that is neither missing nor null."""
        self._read.update(names)
        return next((value for name in names if (value := self.body.get(name)) is not None), None)

    def ignore(self, *names: str) -> None:
        """Count fields as unread, because their value means nothing here."""
        self._read.difference_update(names)

    def text(self, *names: str) -> str | None:
        """A string."""
        value = self.take(*names)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(names, "a string", value)

    def user(self) -> str | None:
        """The end user: `user`, or LiteLLM's `metadata.user_id`."""
        metadata = self.body.get("metadata")
        in_metadata = isinstance(metadata, Mapping) and metadata.get("user_id") is not None
        return self.text("user") or (self.section("metadata").text("user_id") if in_metadata else None)

    def guardrails(self) -> tuple[str, ...]:
        """Names of guardrails: strings, or objects with the name as their key; in `metadata` too, as in LiteLLM."""
        names: list[Any] = []
        for section in (None, "metadata", "litellm_metadata"):
            holder = self.body if section is None else self.body.get(section)
            given = holder.get("guardrails") if isinstance(holder, Mapping) else None
            if given is None:
                continue
            self.take(section or "guardrails")
            each = given if isinstance(given, list) else [None]
            names += [name for one in each for name in (one if isinstance(one, Mapping) else [one])]
        if all(isinstance(name, str) for name in names):
            return tuple(names)
        raise bad_request("guardrails must be a list of names, or of objects with a name as their key", "guardrails")

    def query(self, *names: str) -> str:
        """A string, or an object with a `text`. It must be there and must not be blank."""
        value = self.take(*names)
        text = value.get("text") if isinstance(value, Mapping) else value
        if isinstance(text, str) and text.strip():
            return text
        if value is None or isinstance(text, str):
            raise bad_request(f"{self._name(names)} is required and must not be blank", self._name(names))
        raise self._wrong(names, "a string", value)

    def documents(self, *names: str) -> list[Document]:
        """A list of strings and objects. It must be there."""
        value = self.take(*names)
        if not isinstance(value, list):
            if value is None:
                raise bad_request(f"{self._name(names)} is required: a list of documents", self._name(names))
            raise self._wrong(names, "a list of strings or objects", value)
        for index, document in enumerate(value):
            if not isinstance(document, str | dict):
                where = f"{self._name(names)}[{index}]"
                raise bad_request(f"{where} must be a string or an object, got {_type(document)}", where)
        return value

    def count(self, *names: str) -> int | None:
        """A positive integer, also as a string of digits."""
        value = self.take(*names)
        if isinstance(value, str) and value.strip().isdecimal() and len(value) <= _LONGEST_COUNT:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(names, "a positive integer", value)
        if value < 1:
            raise bad_request(f"{self._name(names)} must be a positive integer, got {value}", self._name(names))
        return value

    def flag(self, *names: str) -> bool | None:
        """A boolean, also as `"true"`, `"false"`, 1 or 0."""
        value = self.take(*names)
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.strip().lower(), value)
        if value in (0, 1) and not isinstance(value, bool):
            value = bool(value)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(names, "a boolean", value)

    def truncation(self, *names: str) -> dict[str, str]:
        """The option `truncate`: "END" or "NONE", which vendors write as true and false or in small letters.

        Other values, such as "START", have no equivalent at another vendor, so they are ignored.
        """
        value = self.take(*names)
        found = _TRUNCATE.get(value.strip().upper() if isinstance(value, str) else value) if _is_plain(value) else None
        if value is not None and found is None:
            self.ignore(*names)
        return {} if found is None else {"truncate": found}

    def names(self, *names: str) -> list[str] | None:
        """A list of strings."""
        value = self.take(*names)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return value
        raise self._wrong(names, "a list of strings", value)

    def section(self, *names: str) -> Fields:
        """An object; an empty one if it is missing."""
        value = self.take(*names)
        if value is None:
            value = {}
        if isinstance(value, Mapping):
            return Fields(value, f"{self._name(names)}.")
        raise self._wrong(names, "an object", value)

    def _name(self, names: tuple[str, ...]) -> str:
        """The name for an error message: the one that the body has."""
        return self._prefix + next((name for name in names if name in self.body), names[0])

    def _wrong(self, names: tuple[str, ...], must: str, value: object) -> Exception:
        name = self._name(names)
        return bad_request(f"{name} must be {must}, got {_type(value)}", name)


def as_seconds(value: object) -> float | None:
    """A positive number of seconds, or `None` if `value` is something else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LONGEST_SECONDS:
        return None
    return float(value)


_LONGEST_SECONDS = 1e9

_TRUNCATE = {True: "END", False: "NONE", "END": "END", "NONE": "NONE", "TRUE": "END", "FALSE": "NONE"}


def _is_plain(value: object) -> bool:
    return isinstance(value, str | bool)


_TYPES = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


def _type(value: object) -> str:
    return "null" if value is None else _TYPES.get(type(value), type(value).__name__)
