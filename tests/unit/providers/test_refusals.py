"""What is left of a provider's words once they are in an error: nothing that was sent, and everything else."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, answering, leaks

from anyrerank import RerankError
from anyrerank._core.engine import connect
from anyrerank._core.types import RerankRequest
from anyrerank.providers._base import redact
from anyrerank.providers._base import refusals as _refusals
from anyrerank.providers._base.refusals import REDACTED, redacted

COHERE = "cohere/rerank-v3.5"
SECRET = "sk-secret-KEY-123456"
TEXT = 'Jos\u00e9 said "100% yes", on 3/4 in M\u00e1laga & \u6771\u4eac'

DISGUISES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "upper case": str.upper,
    "lower case": str.lower,
    "doubled spaces": lambda text: text.replace(" ", "  "),
    "other white space": lambda text: text.replace(" ", "\u3000\n"),
    "JSON": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "ASCII JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "Python": lambda text: ascii(text + "'\"")[1:-4],
    "URL": quote,
    "URL in lower case": lambda text: quote(text).lower(),
    "all of it for a URL": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "form": quote_plus,
    "JSON in a URL": lambda text: quote(json.dumps(text)[1:-1]),
    "URL in a URL": lambda text: quote(quote(text)),
}
disguises = st.sampled_from(list(DISGUISES.values()))


def asked(*documents: Any, query: str = "?") -> RerankRequest:
    return RerankRequest(query=query, documents=documents)


def of_one_kind(letters: str) -> st.SearchStrategy[str]:
    """Words of some letters, with a space between any two."""
    return st.lists(st.text(letters, min_size=1, max_size=9), min_size=1, max_size=12).map(" ".join)


@pytest.mark.parametrize("disguise", list(DISGUISES.values()), ids=list(DISGUISES))
@pytest.mark.parametrize("place", ["query", "document", "mapping"])
def test_a_quotation_is_found_in_each_of_its_forms(disguise: Callable[[str], str], place: str) -> None:
    request = {"query": asked(query=TEXT), "document": asked("x", TEXT), "mapping": asked({"text": "x", "title": TEXT})}
    shown = redact(f"cannot rank <{disguise(TEXT)}>, sorry", [], request[place])
    assert shown == f"cannot rank <{REDACTED}>, sorry"


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=60), disguises, st.integers(0, 60), st.integers(0, 60), st.text(max_size=40))
@example("a  b  c  d  e  f  g", DISGUISES["as it is"], 0, 60, "")
@example("a  b  c  d  e  f  g  h  i  j  k  l", DISGUISES["doubled spaces"], 0, 60, "")
@example("\U0001f600 grins \U0001f600", DISGUISES["ASCII JSON"], 0, 60, "\\")
@example("stra\u00dfe stra\u00dfe", DISGUISES["upper case"], 0, 60, "%")
def test_no_twelve_characters_of_a_text_remain(
    text: str, disguise: Callable[[str], str], start: int, end: int, around: str
) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assume("\0" not in text and disguise(text).casefold() in (text.casefold(), disguise(text.casefold()).casefold()))
    shown = redact(around + disguise(text[start:end]) + around, [], asked(text))
    remaining = [text[at : at + 12] for at in range(len(text) - 11)]
    assert not [run for run in remaining if disguise(run) in shown and run.strip()]


@settings(max_examples=200, deadline=None)
@given(of_one_kind(string.ascii_letters[:13]), of_one_kind("nopqrstuvwxyz"), of_one_kind("abcdefghijklm"), disguises)
def test_the_words_of_the_provider_survive(before: str, text: str, after: str, disguise: Callable[[str], str]) -> None:
    shown = redact(f"{before}: <{disguise(text)}>; {after}", [], asked(text, query=text))
    expected = REDACTED if len(text) > 3 else disguise(text)
    assert shown == f"{before}: <{expected}>; {after}"[:300]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abc \u00e9", max_size=40), max_size=8), st.text("abc \u00e9", max_size=60), st.integers(1, 40))
def test_what_is_shared_does_not_depend_on_how_it_is_looked_for(texts: list[str], said: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_refusals, "_PIECE", piece)
        patched.setattr(_refusals, "_WANTED_AT_ONCE", piece)
        found = _refusals._shared(texts, [said], 5)
    joined = "\0".join(texts)
    runs = {said[at : at + 5] for at in range(len(said) - 4)}
    assert found == {run for run in runs if run in joined or run in _refusals._with_single_spaces(joined)}


@pytest.mark.parametrize(
    ("text", "said", "left"),
    [
        ("the walrus talks", "<he walrus ta>", f"<{REDACTED}>"),
        ("the walrus talks", "<he walrus t>", "<he walrus t>"),
        ("ab  cd  ef  gh  ij", "<b  cd  ef  g>", f"<{REDACTED}>"),
        ("Ottawa", "<OTTAWA> is in lottawas", f"<{REDACTED}> is in l{REDACTED}s"),
        ("New \n York", "<new york>", f"<{REDACTED}>"),
        ("end", "<end>", "<end>"),
    ],
)
def test_what_is_a_quotation(text: str, said: str, left: str) -> None:
    assert redact(said, [], asked(text)) == left


def test_megabytes_are_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    usual = _refusals._finder

    def counting(patterns: Iterable[str]) -> Callable[[str], bool]:
        made.append(1)
        return usual(patterns)

    monkeypatch.setattr(_refusals, "_finder", counting)
    documents = [f"{place} " * 1000 for place in range(1000)]
    words = " ".join(f"w{place}rd" for place in range(150))
    assert redacted((words, f"id-{KEY}", "plain"), [], asked(*documents)) == [words[:300], f"id-{KEY}", "plain"]
    assert len(made) == 2  # documents and secrets


@pytest.mark.parametrize("count", [1, 5, 40])
def test_a_text_is_cut_out_however_many_hold_it(count: int) -> None:
    documents = [f"{place}: the walrus and the carpenter" for place in range(count)]
    assert redact(f"bad: {documents[-1]}!", [], asked(*documents)) == f"bad: {REDACTED}!"


def test_half_a_pair_of_surrogates_is_no_obstacle() -> None:
    assert (
        redact("what is \\ud83d walrus in the water", [], asked("\ud83d walrus in the water")) == f"what is {REDACTED}"
    )


# Keys

SHOWN = "Incorrect API key provided: {}. See https://docs.example/errors"


@pytest.mark.parametrize(
    "quoted",
    [
        SECRET,
        f"{SECRET[:-2]}*",
        f"{SECRET[:8]}",
        f"***{SECRET[-8:]}",
        f"{SECRET[:10]}...{SECRET[-9:]}",
        SECRET.lower(),
        "".join(f"%{byte:02x}" for byte in SECRET.encode()),
    ],
)
@pytest.mark.parametrize("where", ["key", "header", "login", "query string"])
def test_a_key_that_is_quoted_is_in_no_error(quoted: str, where: str, sync_mode: Mode) -> None:
    places: dict[str, dict[str, Any]] = {
        "key": {"api_key": SECRET},
        "header": {"api_key": None, "headers": {"Authorization": f"Bearer {SECRET}"}},
        "login": {"api_key": None, "api_base": f"https://ann:{SECRET}@gw.example/v1"},
        "query string": {"api_base": f"https://gw.example/v1?v=1&code={SECRET}"},
    }
    error = refusal(sync_mode, {"message": SHOWN.format(quoted)}, **places[where])
    runs = [SECRET[at : at + 8] for at in range(len(SECRET) - 7)]
    assert not leaks(error, [quoted, *runs, *map(str.lower, runs)])
    assert error.message.startswith("Cohere answered 401: Incorrect API key provided: ")
    assert error.message.endswith(". See https://docs.example/errors")


@pytest.mark.parametrize(
    "quoted", ["s3cr3t%2FFunction+Key", "s3cr3t/Function+Key", "s3cr3t/Function Key", "unction+Key"]
)
def test_a_value_of_the_query_string_is_secret_as_written_and_as_meant(quoted: str, sync_mode: Mode) -> None:
    base = "https://gw.example/v1?code=s3cr3t%2FFunction+Key&short=abc"
    error = refusal(sync_mode, {"message": f"no such code: {quoted}"}, api_base=base)
    assert error.message == f"Cohere answered 401: no such code: {REDACTED}"


@pytest.mark.parametrize(
    ("headers", "said", "left"),
    [
        ({"X-Title": "Model search demo"}, "Model not found in search", "Model not found in search"),
        ({"X-Title": "Model search demo"}, "who is Model search demo?", f"who is {REDACTED}?"),
        ({"X-Title": "a production key"}, "no key for production", f"no key for {REDACTED}"),
        ({"X-Team": "search"}, "search is down", "search is down"),
        ({"HTTP-Referer": "https://my-app.example"}, "see https://docs.example", "see https://docs.example"),
        ({"HTTP-Referer": "https://my-app.example"}, "not from https://my-app.example", f"not from {REDACTED}"),
        (
            {"Authorization": "Token t0k-1"},
            "Token t0k-1: Token expired, t0k-1",
            f"Token {REDACTED}: Token expired, {REDACTED}",
        ),
        ({"Authorization": f"Bearer {SECRET}"}, "Bearer scheme only", "Bearer scheme only"),
        ({"Authorization": f"ZenApiKey {SECRET}"}, "ZenApiKey only", "ZenApiKey only"),
        ({"Proxy-Authorization": "Basic YW5uOnBAc3M="}, "ann with p@ss", f"ann with {REDACTED}"),
    ],
)
def test_words_of_the_caller_s_headers(headers: Mapping[str, str], said: str, left: str, sync_mode: Mode) -> None:
    assert refusal(sync_mode, {"message": said}, headers=headers).message == f"Cohere answered 401: {left}"


def test_the_parts_of_a_login_and_of_a_base_are_secrets() -> None:
    base = "https://ann:p%40ss-w0rd@gw.example/v1?code=s3cr3tFunctionKey&api-version=2024-05-01-preview"
    secrets = connect(COHERE, api_base=base).secrets()
    assert {"ann", "p@ss-w0rd", "ann:p@ss-w0rd", "s3cr3tFunctionKey"} <= set(secrets)
    assert not {"2024", "Basic"} & set(secrets)


# Ids


@pytest.mark.parametrize("status", [200, 302, 401, 500])
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("rq-7", True),
        ("4c1f0f6e-0b2d-4e43-9a60-4b8a1f5f7a11", True),
        (KEY, False),
        (f"rq-{KEY[:9]}", False),
        (QUERY, False),
        (f"rq:{DOCUMENTS[1][5:20].upper()}", False),
        ("x" * 301, False),
    ],
)
@pytest.mark.parametrize("place", ["header", "body"])
def test_an_id_that_quotes_is_left_out(name: str, kept: bool, place: str, status: int, sync_mode: Mode) -> None:
    if (place, status) == ("body", 200):
        pytest.skip("an answer that cannot be used has its id in a header only")
    body = {"message": "no", **({"requestId": name} if place == "body" else {})}
    error = refusal(sync_mode, body, status, {"x-request-id": name} if place == "header" else {})
    assert error.request_id == (name if kept else None)
    assert kept or not leaks(error, [name])


def refusal(
    mode: Mode, body: Any, status: int = 401, sent: Mapping[str, str] | None = None, **options: Any
) -> RerankError:
    """The error when the server answers like this."""
    replay = answering(body, status, sent)
    reranker = mode.reranker(COHERE, http_client=replay.client(mode), **options)
    with pytest.raises(RerankError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    return caught.value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_key": "EMPTY"}, "documents must not be empty"),
        ({"api_key": "no-key-required"}, "body.query: Field required"),
        ({"headers": {"accept": "application/json"}}, "an unsupported application/json type"),
        ({"headers": {"x-team": "document-search"}}, "your document has no type"),
        ({"api_base": "https://gw.example/v1?deployment=rerank-english"}, "the model rerank-v3 is deprecated"),
    ],
    ids=str,
)
def test_ordinary_words_stay(options: dict[str, Any], said: str, sync_mode: Mode) -> None:
    assert refusal(sync_mode, {"message": said}, **options).message.endswith(said)


def test_what_is_no_text_in_a_document_is_no_quotation(sync_mode: Mode) -> None:
    request = RerankRequest(query="q", documents=[{"text": "alpha beta gamma", "public": True, "page": None}])
    assert redact("truncate must be true, not None", [], request) == "truncate must be true, not None"
