"""No error shows a provider's message that quotes the request or a secret; every other message is shown."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, leaks

from anyrerank import RerankError
from anyrerank._core.engine import connect
from anyrerank._core.types import RerankRequest
from anyrerank.providers._base import Redactor

COHERE = "cohere/rerank-v3.5"
SECRET = "sk-secret-KEY-123456"
TEXT = 'Jos\u00e9 said "100% yes", on 3/4 in M\u00e1laga & \u6771\u4eac'
WITHHELD = "the message is withheld because it quotes the request"
UNDECODABLE = "the message is withheld because it cannot be decoded"

DISGUISES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "upper case": str.upper,
    "lower case": str.lower,
    "doubled spaces": lambda text: text.replace(" ", "  "),
    "without spaces": lambda text: text.replace(" ", ""),
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


def words(letters: str) -> st.SearchStrategy[str]:
    return st.lists(st.text(letters, min_size=1, max_size=9), min_size=1, max_size=12).map(" ".join)


# Query and documents


@pytest.mark.parametrize("disguise", list(DISGUISES.values()), ids=list(DISGUISES))
@pytest.mark.parametrize("where", ["query", "document", "mapping"])
def test_message_that_quotes_a_text_in_any_form_is_withheld(disguise: Callable[[str], str], where: str) -> None:
    request = {"query": asked(query=TEXT), "document": asked("x", TEXT), "mapping": asked({"text": "x", "title": TEXT})}
    assert Redactor(request[where]).message(f"cannot rank <{disguise(TEXT)}>, sorry") == WITHHELD


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=16, max_size=60), disguises, st.integers(0, 60), st.integers(0, 60), st.text(max_size=40))
@example("a  b  c  d  e  f  g  h  i  j  k  l", DISGUISES["doubled spaces"], 0, 0, "")
@example("\U0001f600 grins \U0001f600 grins", DISGUISES["ASCII JSON"], 0, 0, "\\")
@example("stra\u00dfe stra\u00dfe", DISGUISES["upper case"], 0, 0, "%")
def test_message_with_twelve_characters_of_a_text_is_withheld(
    text: str, disguise: Callable[[str], str], start: int, end: int, around: str
) -> None:
    text = text.encode("utf-8", "ignore").decode()
    part = text[start % 4 : len(text) - end % 4]
    assume(len("".join(part.split())) >= 12)
    assume(disguise(part).casefold() in (part.casefold(), disguise(part.casefold()).casefold()))
    shown = Redactor(asked(text)).message(f"{around} <{disguise(part)}> {around}")
    assert shown in (WITHHELD, UNDECODABLE)


@settings(max_examples=200, deadline=None)
@given(words(string.ascii_letters[:13]), words("nopqrstuvwxyz"), words("abcdefghijklm"), disguises)
def test_message_without_a_quotation_is_shown(
    before: str, text: str, after: str, disguise: Callable[[str], str]
) -> None:
    message = f"{before}: <{disguise(after)}>"
    assert Redactor(asked(text, query=text), [SECRET]).message(message) == " ".join(message.split())[:300]


@pytest.mark.parametrize(
    ("text", "message", "quotes"),
    [
        ("the walrus talks", "<ewalrustalks>", True),
        ("the walrus talks", "<walrus talks>", False),
        ("ab  cd  ef  gh  ij  kl", "<b cd ef gh ij k>", False),
        ("ab  cd  ef  gh  ij  kl", "<ab  cd  ef  gh  ij  kl>", True),
        ("Ottawa", "where is <OTTAWA>", True),
        ("New \n York", "<new york>", True),
        ("Ottawa\u3000is the\u00a0capital", "<ottawa is the capital>", True),
        ("Ottawa\u2003is the\u0085capital", "<Ottawa\u2003is the\u0085capital>", True),
        ("end", "<end>", False),
        ("\u65e5\u672c\u306e\u9996\u90fd", "<\u65e5\u672c\u306e\u9996\u90fd>", True),
    ],
)
def test_quotation_is_a_short_text_or_twelve_characters(text: str, message: str, *, quotes: bool) -> None:
    assert Redactor(asked(text)).message(message) == (WITHHELD if quotes else message)


@pytest.mark.parametrize("count", [1, 5, 1000])
def test_text_of_the_last_of_many_documents_is_found(count: int) -> None:
    documents = [f"{index}: the walrus and the carpenter " * 50 for index in range(count)]
    last = f"{count - 1}: the walrus and"
    assert Redactor(asked(*documents)).message(f"bad: {last}!") == WITHHELD
    assert Redactor(asked(*documents)).message("bad: walrus, carpenter") == "bad: walrus, carpenter"


def test_text_with_unpaired_surrogates_is_found() -> None:
    text = "\ud83d walrus in the water"
    for quoted in ("\\ud83d walrus in the water", "\\ufffd walrus in the water"):
        assert Redactor(asked(text)).message(f"what is {quoted}") == WITHHELD
    assert Redactor(asked("wal\ud83drus")).message("what is wal\\ufffdrus") == WITHHELD


def test_values_that_are_not_text_are_not_quotations() -> None:
    redactor = Redactor(asked({"text": "alpha beta gamma", "public": True, "page": None}))
    assert redactor.message("truncate must be true, not None") == "truncate must be true, not None"


def test_message_is_cut_after_300_characters_and_searched_further() -> None:
    letters = "".join(f"{number:03}" for number in range(100))
    assert Redactor(asked(TEXT)).message(f"{letters} and more") == letters
    assert Redactor(asked(TEXT)).message(f"{letters[:296]}{TEXT}") == WITHHELD


# Messages that cannot be read


@pytest.mark.parametrize(
    "body", [b"Jos\xe9 is wrong", "Jos\u00e9 is wrong".encode("utf-16"), {"message": "zero\u200bwidth"}, "bell\u0007"]
)
def test_message_that_cannot_be_decoded_is_withheld(body: Any, sync_mode: Mode) -> None:
    assert refusal(sync_mode, body).message == f"Cohere answered 401: {UNDECODABLE}"


# What a withheld message leaves


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"message": QUERY, "code": "invalid_query"}}, "invalid_query: "),
        ({"error": {"message": QUERY, "type": "invalid-request.error", "code": 7}}, "invalid-request.error: "),
        ({"error": {"message": QUERY, "status": "INVALID_ARGUMENT", "code": 400}}, "INVALID_ARGUMENT: "),
        ({"message": QUERY, "code": "E42"}, "E42: "),
        ({"message": QUERY, "code": "not an identifier"}, ""),
        ({"message": QUERY, "code": "x" * 65}, ""),
        ({"message": QUERY, "code": KEY}, ""),
        ({"message": QUERY}, ""),
    ],
)
def test_withheld_message_leaves_status_code_and_request_id(body: Any, code: str, sync_mode: Mode) -> None:
    error = refusal(sync_mode, body, 422, {"x-request-id": "rq-7"})
    assert error.message == f"Cohere answered 422: {code}{WITHHELD}"
    assert (error.status_code, error.request_id, error.provider) == (422, "rq-7", "cohere")
    assert not leaks(error, [QUERY, KEY])


def test_withheld_message_about_too_many_tokens_splits_the_request(sync_mode: Mode) -> None:
    replay = Replay([{"response": {"status": 400, "json": {"message": f"too many tokens in {QUERY}"}}}] * 5)
    with pytest.raises(RerankError, match=r"too large for the provider: .* withheld"):
        sync_mode.rerank(sync_mode.reranker(COHERE, http_client=replay.client(sync_mode)), QUERY, DOCUMENTS)
    assert [len(json.loads(request.content)["documents"]) for request in replay.seen] == [3, 1]


# Secrets

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
def test_message_that_quotes_a_secret_is_withheld(quoted: str, where: str, sync_mode: Mode) -> None:
    options: dict[str, dict[str, Any]] = {
        "key": {"api_key": SECRET},
        "header": {"api_key": None, "headers": {"Authorization": f"Bearer {SECRET}"}},
        "login": {"api_key": None, "api_base": f"https://ann:{SECRET}@gw.example/v1"},
        "query string": {"api_base": f"https://gw.example/v1?v=1&code={SECRET}"},
    }
    error = refusal(sync_mode, {"message": SHOWN.format(quoted)}, **options[where])
    assert error.message == f"Cohere answered 401: {WITHHELD}"
    runs = [SECRET[at : at + 8] for at in range(len(SECRET) - 7)]
    assert not leaks(error, [quoted, *runs, *map(str.lower, runs)])


@pytest.mark.parametrize(
    "quoted", ["s3cr3t%2FFunction+Key", "s3cr3t/Function+Key", "s3cr3t/Function Key", "unction+Key"]
)
def test_value_of_a_query_string_is_secret_as_written_and_decoded(quoted: str, sync_mode: Mode) -> None:
    base = "https://gw.example/v1?code=s3cr3t%2FFunction+Key&short=abc"
    assert WITHHELD in refusal(sync_mode, {"message": f"no such code: {quoted}"}, api_base=base).message


@pytest.mark.parametrize(
    ("headers", "message", "quotes"),
    [
        ({"X-Title": "Model search demo"}, "Model not found in search", False),
        ({"X-Title": "Model search demo"}, "who is Model search demo?", True),
        ({"X-Title": "a production key"}, "no key for production", True),
        ({"X-Team": "search"}, "search is down", False),
        ({"HTTP-Referer": "https://my-app.example"}, "see https://docs.example", False),
        ({"HTTP-Referer": "https://my-app.example"}, "not from https://my-app.example", True),
        ({"Authorization": "Token t0k-1"}, "Token expired", False),
        ({"Authorization": "Token t0k-1"}, "expired: t0k-1", True),
        ({"Authorization": f"Bearer {SECRET}"}, "Bearer scheme only", False),
        ({"Authorization": f"ZenApiKey {SECRET}"}, "ZenApiKey only", False),
        ({"Proxy-Authorization": "Basic YW5uOnBAc3M="}, "ann with p@ss", True),
        ({"accept": "application/json"}, "an unsupported application/json type", False),
        ({"x-team": "document-search"}, "your document has no type", False),
    ],
)
def test_headers_are_secret_and_ordinary_words_are_not(
    headers: Mapping[str, str], message: str, sync_mode: Mode, *, quotes: bool
) -> None:
    shown = refusal(sync_mode, {"message": message}, headers=headers).message
    assert shown == f"Cohere answered 401: {WITHHELD if quotes else message}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": "EMPTY"}, "documents must not be empty"),
        ({"api_key": "no-key-required"}, "body.query: Field required"),
        ({"api_base": "https://gw.example/v1?deployment=rerank-english"}, "the model rerank-v3 is deprecated"),
    ],
    ids=str,
)
def test_keys_and_addresses_of_ordinary_words_hide_no_message(
    options: dict[str, Any], message: str, sync_mode: Mode
) -> None:
    assert refusal(sync_mode, {"message": message}, **options).message.endswith(message)


def test_parts_of_a_login_and_of_a_base_url_are_secrets() -> None:
    base = "https://ann:p%40ss-w0rd@gw.example/v1?code=s3cr3tFunctionKey&api-version=2024-05-01-preview"
    secrets = connect(COHERE, api_base=base).secrets()
    assert {"ann", "p@ss-w0rd", "ann:p@ss-w0rd", "s3cr3tFunctionKey"} <= set(secrets)
    assert not {"2024", "Basic"} & set(secrets)


# Request ids


@pytest.mark.parametrize("status", [200, 302, 401, 500])
@pytest.mark.parametrize(
    ("request_id", "is_shown"),
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
@pytest.mark.parametrize("where", ["header", "body"])
def test_request_id_that_quotes_is_left_out(
    request_id: str, where: str, status: int, sync_mode: Mode, *, is_shown: bool
) -> None:
    if (where, status) == ("body", 200):
        pytest.skip("an answer that cannot be used has its id in a header only")
    body = {"message": "no", **({"requestId": request_id} if where == "body" else {})}
    error = refusal(sync_mode, body, status, {"x-request-id": request_id} if where == "header" else {})
    assert error.request_id == (request_id if is_shown else None)
    assert is_shown or not leaks(error, [request_id])


def refusal(
    mode: Mode, body: Any, status: int = 401, sent: Mapping[str, str] | None = None, **options: Any
) -> RerankError:
    """The error when the server answers like this."""
    replay = answering(body, status, sent)
    reranker = mode.reranker(COHERE, http_client=replay.client(mode), **options)
    with pytest.raises(RerankError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    return caught.value
