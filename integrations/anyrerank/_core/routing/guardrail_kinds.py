"""The guardrails of LiteLLM's that have an equivalent here: Presidio and the content filter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from anyrerank._core.runtime import check_installed
from anyrerank.errors import ConfigurationError, GuardrailRaisedError
from anyrerank.guardrails import KINDS, Guardrail, Mask, PresidioMask

Params: TypeAlias = Mapping[str, Any]
Build: TypeAlias = Callable[[Params], tuple[Guardrail, ...]]

_PRESIDIO_UNUSED = frozenset(
    {"output_parse_pii", "presidio_analyzer_api_base", "presidio_anonymizer_api_base", "presidio_language"}
)
"""They change how Presidio is asked, or what becomes of answers, which hold no query."""
_SCOPES = ("presidio_filter_scope", "presidio_run_on")

_CARDS = {
    "amex": r"\b3[47]\d{2}[\s-]?\d{6}[\s-]?\d{5}\b",
    "discover": r"\b6(?:011|5\d{2})(?:[\s-]?\d{4}){3}\b",
    "mastercard": r"\b5[1-5]\d{2}(?:[\s-]?\d{4}){3}\b",
    "visa": r"\b4\d{3}(?:[\s-]?\d{4}){3}\b",
}
PREBUILT: Mapping[str, str] = {
    **_CARDS,
    "aws_access_key": r"\bAKIA[0-9A-Z]{16}\b",
    "credit_card": "|".join(_CARDS.values()),
    "email": r"(?<![\w.%+-])[\w.%+-]+@[a-z0-9.-]+\.[a-z]{2,}",
    "github_token": r"\bgh[ps]_[a-z0-9]{36}\b",
    "iban": r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b",
    "ipv4": r"\b(?:(?:25[0-5]|2[0-4]\d|[01]?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|[01]?\d?\d)\b",
    "us_phone": r"(?<!\d)(?:\+?1[\s.-]?)?\(?\d{3}\)?[\s.-]?\d{3}[\s.-]?\d{4}\b",
    "us_ssn": r"\b\d{3}-\d{2}-\d{4}\b",
}
"""Patterns of the content filter by name. The time that they take grows with the query, not with its square."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuses a text that a mask would change.

    Attributes:
        what: What the mask replaces, for the error.
        mask: The mask.
    """

    what: str
    mask: Callable[[str], str]

    @property
    def blocking(self) -> bool:
        """Whether the mask is."""
        return bool(getattr(self.mask, "blocking", False))

    def __call__(self, query: str) -> str:
        """Return the text, or raise `GuardrailRaisedError`."""
        if self.mask(query) != query:
            raise GuardrailRaisedError(f"the query, or its instruction, must not have {self.what}; nothing was sent")
        return query


def presidio(params: Params) -> tuple[Guardrail, ...]:
    """Presidio, with the kinds of personal data in `pii_entities_config`.

    Raises:
        ConfigurationError: A setting is not supported, or a kind is not found here.
        MissingExtraError: Presidio is not installed.
    """
    _refuse_others(params, {"pii_entities_config", "presidio_score_thresholds", *_PRESIDIO_UNUSED, *_SCOPES})
    if wrong := [name for name in _SCOPES if params.get(name) == "output"]:
        raise ConfigurationError(f"{wrong[0]} must be input or both: answers have no text to check")
    actions = params.get("pii_entities_config")
    if not isinstance(actions, Mapping) or not actions or not actions.keys() <= KINDS.keys():
        got = sorted(map(str, actions.keys() - KINDS.keys())) if isinstance(actions, Mapping) else ()
        raise ConfigurationError(
            f"pii_entities_config must map kinds to MASK or BLOCK, got {', '.join(got) or 'none'}; those that work are "
            f"{', '.join(sorted(KINDS))} (names of people and places need a language model, and are not found)"
        )
    score = _score(params.get("presidio_score_thresholds"))
    blocked, masked = _by_action("pii_entities_config", actions.items())
    check_installed("presidio_analyzer", "guardrails")
    refusing = [Refuse(kind, PresidioMask([kind], **score)) for kind in blocked]
    return (*refusing, *([PresidioMask(masked, **score)] if masked else []))


def content_filter(params: Params) -> tuple[Guardrail, ...]:
    """LiteLLM's content filter, with its `patterns` and `blocked_words`. What is blocked is checked before masking.

    Raises:
        ConfigurationError: A setting or a pattern is not supported.
    """
    _refuse_others(params, {"patterns", "blocked_words", "pattern_redaction_format", "keyword_redaction_tag"})
    tag = str(params.get("pattern_redaction_format") or "[{pattern_name}_REDACTED]")
    word_tag = str(params.get("keyword_redaction_tag") or "[KEYWORD_REDACTED]")
    patterns = [_pattern(each, tag) for each in _mappings(params, "patterns")]
    words = [_word(each, word_tag) for each in _mappings(params, "blocked_words")]
    rules = [*patterns, *words]
    if not rules:
        raise ConfigurationError("it must have patterns or blocked_words")
    blocked, masked = _by_action("action", ((rule, rule.action) for rule in rules))
    refusing = [Refuse(rule.what, Mask({rule.regex: ""})) for rule in blocked]
    return (*refusing, *([Mask({rule.regex: rule.tag for rule in masked})] if masked else []))


BUILT: Mapping[str, Build] = {"litellm_content_filter": content_filter, "presidio": presidio}
"""The guardrails by LiteLLM's names."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern or word of the content filter: what it is, for errors, and what to do with it."""

    what: str
    regex: str
    tag: str
    action: object


def _pattern(given: Params, tag: str) -> _Rule:
    kind = given.get("pattern_type")
    if kind == "prebuilt":
        name = str(given.get("pattern_name"))
        if name not in PREBUILT:
            raise ConfigurationError(
                f"there is no prebuilt pattern {name[:40]}; those that work are {', '.join(sorted(PREBUILT))}: "
                "write others as pattern_type: regex"
            )
        regex = PREBUILT[name]
    elif kind == "regex" and isinstance(given.get("pattern"), str):
        name, regex = str(given.get("name") or "custom_regex"), given["pattern"]
    else:
        raise ConfigurationError(
            "a pattern must have pattern_type: regex with a pattern, or prebuilt with a pattern_name"
        )
    return _Rule(f"a match of {name}", f"(?i){regex}", tag.replace("{pattern_name}", name.upper()), given.get("action"))


def _word(given: Params, tag: str) -> _Rule:
    """A word, also within a longer one, in which `*` stands for at most one character, as in LiteLLM."""
    word = given.get("keyword")
    if not isinstance(word, str) or not word:
        raise ConfigurationError("a blocked word must have a keyword, which is a string")
    return _Rule("a blocked word", f"(?i){re.escape(word)}".replace(r"\*", ".?"), tag, given.get("action"))


def _mappings(params: Params, name: str) -> list[Params]:
    given = params.get(name) or []
    if not isinstance(given, list) or not all(isinstance(each, Mapping) for each in given):
        raise ConfigurationError(f"{name} must be a list of mappings")
    return given


def _by_action(name: str, rules: Iterable[tuple[Any, object]]) -> tuple[list[Any], list[Any]]:
    """What is blocked, and what is masked."""
    found: dict[object, list[Any]] = {"BLOCK": [], "MASK": []}
    for rule, action in rules:
        if action not in ("BLOCK", "MASK"):
            raise ConfigurationError(f"{name} must be BLOCK or MASK, got {str(action)[:40]}")
        found[action].append(rule)
    return found["BLOCK"], found["MASK"]


def _score(thresholds: object) -> dict[str, float]:
    """The `min_score` of a `PresidioMask`; nothing for its default."""
    if not thresholds:
        return {}
    if isinstance(thresholds, Mapping) and thresholds.keys() == {"ALL"} and isinstance(thresholds["ALL"], float | int):
        return {"min_score": thresholds["ALL"]}
    raise ConfigurationError("presidio_score_thresholds must be one number for all kinds: {ALL: 0.7}")


def _refuse_others(params: Params, known: set[str]) -> None:
    for name, value in params.items():
        if value and name not in known:
            raise ConfigurationError(f"{str(name)[:60]} is not supported; remove it")
