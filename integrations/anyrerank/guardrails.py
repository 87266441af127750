"""Guardrails: what may look at a query, change it or stop it before anything is sent. Documents are never touched.

A guardrail is a function that gets the query and returns it, changed or as it is, or raises. It may be asynchronous for
`arerank`. One that fails blocks the query: it is better not to rank than to send what should not have been sent.

    DenyList        words and patterns that no query may hold
    Mask            patterns that are replaced
    PresidioMask    personal data, by Presidio's pattern recognisers (`pip install 'anyrerank[guardrails]'`)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeAlias

from anyrerank._core.runtime import Blocking, Flow, Invoke, needed
from anyrerank.errors import APITimeoutError, ConfigurationError, GuardrailRaisedError

Guardrail: TypeAlias = Callable[[str], str | Awaitable[str]]
"""Gets the query and returns it, changed or not, or raises."""


def guarded(query: str, guardrails: Sequence[Guardrail]) -> Flow[str]:
    """The query as the guardrails leave it, one after another.

    Raises:
        GuardrailRaisedError: One of them refused the query, or failed, or returned something else. No word of the query
            is in the message, unless a guardrail put it into an error of this class.
        ConfigurationError: An asynchronous one in a synchronous call.
    """
    for guardrail in guardrails:
        name = getattr(guardrail, "__name__", type(guardrail).__name__)
        look = partial(guardrail, query)
        try:
            blocking = getattr(guardrail, "blocking", False)
            found = yield Blocking(look, bounded=True) if blocking else Invoke(look, bounded=True)
        except (GuardrailRaisedError, ConfigurationError, APITimeoutError):
            raise
        except Exception as error:  # noqa: BLE001  it is the caller's function
            raise GuardrailRaisedError(
                f"the guardrail {name} stopped the query with {type(error).__name__}; nothing was sent"
            ) from None
        if inspect.iscoroutine(found):
            found.close()
            raise ConfigurationError(
                f"the guardrail {name} is asynchronous: it is for asynchronous calls (arerank), and not `blocking`"
            )
        if not isinstance(found, str):
            raise GuardrailRaisedError(
                f"the guardrail {name} returned {type(found).__name__} instead of the query; nothing was sent"
            )
        query = found
    return query


@dataclass(frozen=True)
class DenyList:
    """Refuses a query that holds one of some terms, or matches one of some patterns.

    Attributes:
        terms: Whole words or phrases, whatever their case and the white space in them.
        patterns: Regular expressions.

    Raises:
        ConfigurationError: A pattern cannot be compiled, or is empty, as is a term.
    """

    terms: Sequence[str] = ()
    patterns: Sequence[str] = ()
    _compiled: Sequence[re.Pattern[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        whole = [_regex(rf"(?<!\w){_words(term)}(?!\w)", re.IGNORECASE) for term in _listed("terms", self.terms)]
        others = [_regex(_checked(pattern)) for pattern in _listed("patterns", self.patterns)]
        object.__setattr__(self, "_compiled", [*whole, *others])

    def __call__(self, query: str) -> str:
        """The query, if nothing in it is forbidden; raises `GuardrailRaisedError` otherwise."""
        for number, pattern in enumerate(self._compiled, start=1):
            if pattern.search(query):
                raise GuardrailRaisedError(f"the query holds what number {number} of the deny-list forbids")
        return query


@dataclass(frozen=True)
class Mask:
    r"""Replaces what matches some patterns.

    Attributes:
        patterns: Regular expressions and what stands in their place, for example `{r"\bACC-\d+": "<ACCOUNT>"}`.

    Raises:
        ConfigurationError: A pattern cannot be compiled, or is empty.
    """

    patterns: Mapping[str, str]
    _compiled: Sequence[tuple[re.Pattern[str], str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiled = [(_regex(_checked(pattern)), instead) for pattern, instead in self.patterns.items()]
        object.__setattr__(self, "_compiled", compiled)

    def __call__(self, query: str) -> str:
        """The query with every match replaced."""
        for pattern, instead in self._compiled:
            query = pattern.sub(lambda _, instead=instead: instead, query)  # type: ignore[misc]
        return query


@dataclass(frozen=True)
class PresidioMask:
    """Replaces personal data by its kind, such as `<EMAIL_ADDRESS>`, by the pattern recognisers of Presidio.

    Patterns need no language model and no network: names of people and places are not found. It takes some
    milliseconds, and runs in a thread of its own in asynchronous calls.

    Attributes:
        entities: Which kinds; by default all of `KINDS`.
        least: The least confidence, between 0 and 1, with which a pattern must match.

    Raises:
        ConfigurationError: An entity that is not among `KINDS`.
    """

    entities: Sequence[str] = ()
    least: float = 0.4

    blocking = True

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ConfigurationError("least, of PresidioMask, is a confidence between 0 and 1")
        if unknown := sorted(set(_listed("entities", self.entities)) - KINDS.keys()):
            raise ConfigurationError(f"PresidioMask knows no {', '.join(unknown)}; it knows {', '.join(sorted(KINDS))}")

    def __call__(self, query: str) -> str:
        """The query with what was found replaced; raises `ConfigurationError` where Presidio is not installed."""
        wanted = self.entities or tuple(KINDS)
        found = [
            result
            for kind in wanted
            for result in _recogniser(kind).analyze(query, [kind], nlp_artifacts=None)
            if result.score >= self.least
        ]
        return _without(query, _united((result.start, result.end, result.entity_type) for result in found))


KINDS: Mapping[str, str] = {
    "CREDIT_CARD": "CreditCardRecognizer",
    "CRYPTO": "CryptoRecognizer",
    "EMAIL_ADDRESS": "EmailRecognizer",
    "IBAN_CODE": "IbanRecognizer",
    "IP_ADDRESS": "IpRecognizer",
    "PHONE_NUMBER": "PhoneRecognizer",
    "US_SSN": "UsSsnRecognizer",
}
"""What `PresidioMask` finds, and with which of Presidio's recognisers."""


@cache
def _recogniser(kind: str) -> Any:
    library = partial(needed, extra="guardrails", called="Presidio")
    found = getattr(library("presidio_analyzer.predefined_recognizers"), KINDS[kind])
    if kind == "EMAIL_ADDRESS":
        # its own check of the domain asks the network for the list of public suffixes
        plain = library("presidio_analyzer").PatternRecognizer
        return plain(supported_entity=kind, patterns=found.PATTERNS)
    return found()


def _united(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Spans that overlap as one, with the kind of the longest of them."""
    united: list[tuple[int, int, str]] = []
    longest = 0
    for start, end, kind in sorted(spans):
        if not united or start >= united[-1][1]:
            united.append((start, end, kind))
            longest = end - start
            continue
        first, last, known = united[-1]
        united[-1] = (first, max(last, end), kind if end - start > longest else known)
        longest = max(longest, end - start)
    return united


def _without(query: str, spans: Iterable[tuple[int, int, str]]) -> str:
    for start, end, kind in sorted(spans, reverse=True):
        query = f"{query[:start]}<{kind}>{query[end:]}"
    return query


def _listed(name: str, texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise ConfigurationError(f"{name} is a list of strings: put the string into a list")
    return texts


def _words(term: str) -> str:
    """A pattern of the words of a term, however far apart they are written."""
    return r"\s+".join(map(re.escape, _checked(term).split())) or re.escape(term)


def _checked(text: str) -> str:
    if not isinstance(text, str) or not text:  # type: ignore[redundant-expr]
        raise ConfigurationError("a guardrail's terms and patterns are strings that are not empty")
    return text


def _regex(pattern: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise ConfigurationError(f"a guardrail's pattern is no regular expression: {error}") from None
