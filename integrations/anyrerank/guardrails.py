"""Guardrails: check, change or refuse a query before anything is sent. Documents never pass through them.

A guardrail is a function that takes the query and returns it, changed or not, or raises an exception. It may be async
for `arerank`. If it fails, the call fails and nothing is sent.

    DenyList        refuses queries with certain words or patterns
    Mask            replaces patterns
    PresidioMask    replaces personal data, found with Presidio (`pip install 'anyrerank[guardrails]'`)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeAlias

from anyrerank._core.runtime import Blocking, Flow, Invoke, import_optional
from anyrerank.errors import APITimeoutError, ConfigurationError, GuardrailRaisedError

Guardrail: TypeAlias = Callable[[str], str | Awaitable[str]]
"""A function that takes the query and returns it, changed or not, or raises an exception.

With an attribute `blocking = True` it runs in a thread when the call is asynchronous. With `checks_instruction = True`
the option `instruction` passes through it too, after the query.
"""


def guarded(query: str, guardrails: Sequence[Guardrail]) -> Flow[str]:
    """Pass `query` through the guardrails, one after another.

    Raises:
        GuardrailRaisedError: One of them refused the query, failed, or did not return a string. The message does not
            contain the query, unless a guardrail put it into an error of this class.
        ConfigurationError: An async guardrail in a synchronous call.
        APITimeoutError: They took too long.
    """
    for guardrail in guardrails:
        name = getattr(guardrail, "__name__", type(guardrail).__name__)
        check = partial(guardrail, query)
        try:
            blocking = getattr(guardrail, "blocking", False)
            found = yield Blocking(check, bounded=True) if blocking else Invoke(check, bounded=True)
        except (GuardrailRaisedError, ConfigurationError, APITimeoutError):
            raise
        except Exception as error:  # noqa: BLE001  a user's function may raise anything
            raise GuardrailRaisedError(
                f"guardrail {name} failed with {type(error).__name__}; nothing was sent"
            ) from None
        if inspect.iscoroutine(found):
            found.close()
            raise ConfigurationError(f"guardrail {name} is async: use arerank, and do not mark it as `blocking`")
        if not isinstance(found, str):
            raise GuardrailRaisedError(
                f"guardrail {name} must return the query as a string, got {type(found).__name__}; nothing was sent"
            )
        query = found
    return query


@dataclass(frozen=True)
class DenyList:
    """Refuses a query that contains one of the terms or matches one of the patterns.

    Attributes:
        terms: Words or phrases. They match as whole words, in any case, with any white space between the words.
        patterns: Regular expressions.

    Raises:
        ConfigurationError: A term or pattern is empty, or a pattern cannot be compiled.
    """

    terms: Sequence[str] = ()
    patterns: Sequence[str] = ()
    _compiled: Sequence[re.Pattern[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        whole = [_regex(rf"(?<!\w){_words(term)}(?!\w)", re.IGNORECASE) for term in _listed("terms", self.terms)]
        others = [_regex(_checked(pattern)) for pattern in _listed("patterns", self.patterns)]
        object.__setattr__(self, "_compiled", [*whole, *others])

    def __call__(self, query: str) -> str:
        """Return the query, or raise `GuardrailRaisedError` if it matches."""
        for number, pattern in enumerate(self._compiled, start=1):
            if pattern.search(query):
                raise GuardrailRaisedError(f"the query matches entry {number} of the deny list; nothing was sent")
        return query


@dataclass(frozen=True)
class Mask:
    r"""Replaces every match of some patterns.

    Attributes:
        patterns: Regular expressions and their replacements, for example `{r"\bACC-\d+": "<ACCOUNT>"}`.

    Raises:
        ConfigurationError: `patterns` is not a mapping, or a pattern is empty or cannot be compiled.
    """

    patterns: Mapping[str, str]
    _compiled: Sequence[tuple[re.Pattern[str], str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.patterns, Mapping):
            raise ConfigurationError(f"patterns must be a mapping to replacements, got {type(self.patterns).__name__}")
        compiled = [(_regex(_checked(pattern)), replacement) for pattern, replacement in self.patterns.items()]
        object.__setattr__(self, "_compiled", compiled)

    def __call__(self, query: str) -> str:
        """Return the query with every match replaced."""
        for pattern, replacement in self._compiled:
            query = pattern.sub(lambda _, text=replacement: text, query)  # type: ignore[misc]
        return query


@dataclass(frozen=True)
class PresidioMask:
    """Replaces personal data by its kind, such as `<EMAIL_ADDRESS>`, using the pattern recognizers of Presidio.

    Patterns need no language model and no network, so names of people and places are not found. It takes some
    milliseconds, and runs in a thread when the call is asynchronous.

    Attributes:
        entities: The kinds to replace; by default all of `KINDS`.
        min_score: Minimum confidence of a match, between 0 and 1.

    Raises:
        ConfigurationError: An entity is not one of `KINDS`, or `min_score` is out of range.
    """

    entities: Sequence[str] = ()
    min_score: float = 0.4

    blocking = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ConfigurationError(f"min_score of PresidioMask must be between 0 and 1, got {self.min_score}")
        if unknown := sorted(set(_listed("entities", self.entities)) - KINDS.keys()):
            raise ConfigurationError(
                f"entities of PresidioMask must be among {', '.join(sorted(KINDS))}, got {', '.join(unknown)}"
            )

    def __call__(self, query: str) -> str:
        """Return the query with personal data replaced; raise `MissingExtraError` if Presidio is not installed."""
        found = [
            result
            for kind in self.entities or KINDS
            for result in _recognizer(kind).analyze(query, [kind], nlp_artifacts=None)
            if result.score >= self.min_score
        ]
        return _replaced(query, _merged((result.start, result.end, result.entity_type) for result in found))


KINDS: Mapping[str, str] = {
    "CREDIT_CARD": "CreditCardRecognizer",
    "CRYPTO": "CryptoRecognizer",
    "EMAIL_ADDRESS": "EmailRecognizer",
    "IBAN_CODE": "IbanRecognizer",
    "IP_ADDRESS": "IpRecognizer",
    "PHONE_NUMBER": "PhoneRecognizer",
    "US_SSN": "UsSsnRecognizer",
}
"""The kinds of personal data that `PresidioMask` finds, with Presidio's recognizer for each."""


@cache
def _recognizer(kind: str) -> Any:
    library = partial(import_optional, extra="guardrails", called="Presidio")
    found = getattr(library("presidio_analyzer.predefined_recognizers"), KINDS[kind])
    if kind == "EMAIL_ADDRESS":
        # its check of the domain downloads the list of public suffixes
        plain = library("presidio_analyzer").PatternRecognizer
        return plain(supported_entity=kind, patterns=found.PATTERNS)
    return found()


def _merged(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Overlapping spans merged into one, with the kind of the longest of them."""
    merged: list[tuple[int, int, str]] = []
    longest = 0
    for start, end, kind in sorted(spans):
        if not merged or start >= merged[-1][1]:
            merged.append((start, end, kind))
            longest = end - start
            continue
        first, last, known = merged[-1]
        merged[-1] = (first, max(last, end), kind if end - start > longest else known)
        longest = max(longest, end - start)
    return merged


def _replaced(query: str, spans: Iterable[tuple[int, int, str]]) -> str:
    for start, end, kind in sorted(spans, reverse=True):
        query = f"{query[:start]}<{kind}>{query[end:]}"
    return query


def _listed(name: str, texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise ConfigurationError(f"{name} must be a list of strings, got a string: put it into a list")
    return texts


def _words(term: str) -> str:
    """A pattern for the words of a term, with any white space between them."""
    return r"\s+".join(map(re.escape, _checked(term).split())) or re.escape(term)


def _checked(text: str) -> str:
    if not isinstance(text, str) or not text:  # type: ignore[redundant-expr]
        raise ConfigurationError("terms and patterns of a guardrail must be strings that are not empty")
    return text


def _regex(pattern: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise ConfigurationError(f"a pattern of a guardrail is not a regular expression: {error}") from None
