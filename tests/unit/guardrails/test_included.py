"""The guardrails of the package."""

from __future__ import annotations

import pickle
import socket
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.harness import Mode, leaks
from tests.unit.guardrails.guarded import blocked, sent

from anyrerank import (
    ConfigurationError,
    GuardrailRaisedError,
)
from anyrerank.guardrails import KINDS, DenyList, Mask, PresidioMask


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("is Project X ready?", True),
        ("is PROJECT X, then, ready?", True),
        ("is project xylophone ready?", False),
        ("a code: AB-1234", True),
        ("a code: ab-1234", False),
        ("C++ or Rust?", True),
        ("C+++ or Rust?", True),
        ("nothing of it", False),
        ("is project\n  x ready?", True),
    ],
)
def test_deny_list(query: str, refused: bool, mode: Mode) -> None:
    deny = DenyList(terms=["project x", "C++"], patterns=[r"[A-Z]{2}-\d{4}"])
    if refused:
        assert "of the deny list" in blocked(mode, query, deny).message
    else:
        assert sent(mode, query, deny) == query


@pytest.mark.parametrize(
    "make",
    [
        lambda: DenyList("nightjar"),
        lambda: DenyList([], "night"),
        lambda: PresidioMask("IP_ADDRESS"),
    ],
)
def test_string_in_place_of_a_list_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a list of strings, got a string"):
        make()


@pytest.mark.parametrize("min_score", [-0.1, 40])
def test_min_score_out_of_range_is_refused(min_score: float) -> None:
    with pytest.raises(ConfigurationError, match=f"min_score of PresidioMask must be between 0 and 1, got {min_score}"):
        PresidioMask(min_score=min_score)


def test_deny_list_names_the_entry_but_not_its_text(mode: Mode) -> None:
    error = blocked(mode, "tell me of nightjar", DenyList(["other", "nightjar"]))
    assert "entry 2 of the deny list" in error.message
    assert not leaks(error, ["nightjar"])


@given(st.text(min_size=1), st.text(), st.text())
def test_deny_list_finds_every_term_between_spaces(term: str, before: str, after: str) -> None:
    with pytest.raises(GuardrailRaisedError):
        DenyList([term])(f"{before} {term} {after}")


def test_mask(mode: Mode) -> None:
    replace = Mask({r"\bACC-\d+": "<ACCOUNT>", "secret": r"\1"})
    assert sent(mode, "what of ACC-17 and ACC-9, the secret ones?", replace) == (
        r"what of <ACCOUNT> and <ACCOUNT>, the \1 ones?"
    )


def test_mask_refuses_patterns_without_replacements() -> None:
    with pytest.raises(ConfigurationError, match="patterns must be a mapping to replacements, got list"):
        Mask(["secret"])  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda text: DenyList([], [text]), lambda text: Mask({text: "x"})])
@pytest.mark.parametrize(
    ("text", "words"), [("(", "not a regular expression"), ("", "not empty"), (3, "must be strings")]
)
def test_invalid_pattern_is_refused(make: Any, text: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make(text)


@pytest.mark.parametrize("made", [DenyList(["a"], ["b"]), Mask({"a": "b"}), PresidioMask(["CREDIT_CARD"])])
def test_guardrail_can_be_pickled_and_compared(made: Any) -> None:
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301


presidio = pytest.mark.skipif(sys.version_info >= (3, 14), reason="Presidio does not support Python 3.14 yet")


@presidio
@pytest.mark.parametrize(
    ("query", "masked"),
    [
        ("write to jane.doe@example.com now", "write to <EMAIL_ADDRESS> now"),
        ("card 4111 1111 1111 1111?", "card <CREDIT_CARD>?"),
        ("card 4111 1111 1111 1112?", "card 4111 1111 1111 1112?"),
        ("from DE89 3704 0044 0532 0130 00 to", "from <IBAN_CODE> to"),
        ("ping 192.168.10.1", "ping <IP_ADDRESS>"),
        ("call +1 212 555 0123 or +44 20 7946 0958", "call <PHONE_NUMBER> or <PHONE_NUMBER>"),
        ("what is the capital of Canada?", "what is the capital of Canada?"),
        ("call +1 212 555 0123@mail.example.com", "call <EMAIL_ADDRESS>"),
    ],
)
def test_presidio_mask(query: str, masked: str, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Presidio itself, without a model and without the network."""
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: asked.append(arguments))
    assert sent(mode, query, PresidioMask()) == masked
    assert asked == []


@presidio
def test_presidio_mask_of_some_kinds(mode: Mode) -> None:
    query = "jane.doe@example.com at 192.168.10.1"
    assert sent(mode, query, PresidioMask(["IP_ADDRESS"])) == "jane.doe@example.com at <IP_ADDRESS>"
    with pytest.raises(ConfigurationError, match=r"entities of PresidioMask must be among CREDIT_CARD, .* got NAME"):
        PresidioMask(["NAME"])


@presidio
def test_every_kind_has_a_recognizer() -> None:
    for kind in KINDS:
        assert PresidioMask([kind])("nothing here") == "nothing here"


@presidio
def test_presidio_mask_does_not_block_the_event_loop() -> None:
    threads: list[int] = []

    class Watched(PresidioMask):
        def __call__(self, query: str) -> str:
            threads.append(threading.get_ident())
            return super().__call__(query)

    mode = Mode(asynchronous=True)
    assert sent(mode, "hello", Watched()) == "hello"
    mode.finish()
    assert threads != [threading.get_ident()]
