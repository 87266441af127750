"""What every provider owes: the folder of providers is the registry, and each file in it is held to all of this.

The dialect comes from the provider's recording (`tests/wire/<name>.json`), everything else from its card.
"""

from __future__ import annotations

import builtins
import json
import logging
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate
from functools import partial
from typing import Any

import httpx
import pytest
from tests.support.harness import KEY, WIRE, Mode, Replay, answering, leaks, recording

import anyrerank
from anyrerank import APIResponseValidationError, BadRequestError, RerankError, RerankResponse
from anyrerank._core.engine import CONNECTION, Options, connect
from anyrerank._core.engine.options import UNIFIED
from anyrerank._core.runtime import HttpResponse
from anyrerank._core.types import RerankRequest
from anyrerank.errors import public_url
from anyrerank.providers import Provider, load, names

QUERY = "capital of Canada"
DOCUMENTS = ["Lisbon: Portugal", "Ottawa: Canada", "Sydney: Australia"]
BASE_FORMS = ("plain", "slash", "version", "version and slash", "endpoint", "endpoint and slash", "path", "query")
STATUSES = {
    "AuthenticationError": (401, 498),
    "PermissionDeniedError": (402, 403),
    "NotFoundError": (404,),
    "BadRequestError": (400, 405, 409, 412, 413, 415, 418, 422, 425, 451),
    "APITimeoutError": (408, 504),
    "RateLimitError": (429,),
    "InternalServerError": (424, 499, 500, 501, 502, 503, 529, 599),
    "APIResponseValidationError": (301, 302, 307, 308),
}


def cases() -> list[Any]:
    """Every recorded call; what is missing fails in a test of its own, rather than here."""
    recorded = [name for name in contracted() if (WIRE / f"{name}.json").exists()]
    return [
        pytest.param(name, each, id=f"{name}-{each['name']}") for name in recorded for each in recording(name)["cases"]
    ]


def over_http() -> list[str]:
    return [name for name in contracted() if load(name).default_base or load(name).base_variables]


def contracted() -> list[str]:
    """Every provider but those whose recording says where else they are held to it, for want of a library here."""
    return [name for name in names() if not (WIRE / f"{name}.json").exists() or "elsewhere" not in recording(name)]


each_provider = pytest.mark.parametrize("name", contracted())
each_over_http = pytest.mark.parametrize("name", over_http())


class Dialect:
    """A provider as its recording describes it: how to call it and how it answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind: type[Provider] = load(name)
        self.recorded = recording(name)
        plain = next(each for each in self.recorded["cases"] if each["name"] == self.recorded["plain"])
        self.model: str = plain["call"]["model"]
        self.exchanges: list[dict[str, Any]] = plain["exchanges"]
        self.expected: dict[str, Any] = plain["expect"]
        given = {key: KEY if value == "KEY" else value for key, value in plain["call"].items()}
        self.needed = {key: given[key] for key in given.keys() - {"model", "query", "documents", "api_key"}}

    @property
    def positional(self) -> bool:
        """Whether scores come in the order of the documents, without an index."""
        return "index" not in self.recorded["answer"]

    def answer(self, rows: Sequence[tuple[Any, Any]]) -> Any:
        """The body of an answer with these (index, score) rows."""
        shape = self.recorded["answer"]
        if self.positional:
            return self.around([score for _, score in sorted(rows)])
        spelled = str if shape.get("index_is_text") else _same
        return self.around([{shape["index"]: spelled(index), shape["score"]: score} for index, score in rows])

    def around(self, rows: Any) -> Any:
        """The body of an answer with `rows` where its rows are."""
        shape = self.recorded["answer"]
        body = rows
        for key in reversed(shape["rows"].split(".") if shape["rows"] else []):
            body = {key: body}
        return {**shape["beside"], **body} if "beside" in shape else body

    def provider(self) -> Provider:
        kind = self.kind
        settings = {name: value for name, value in self.needed.items() if name in kind.settings}
        return connect(self.model, api_key=KEY, api_base=self.needed.get("api_base"), settings=settings)

    @property
    def key_header(self) -> tuple[str, str]:
        """Name and value of the header that carries the key."""
        sent = self.exchanges[0]["request"]
        headers = {**sent.get("headers", {}), "authorization": sent["authorization"] or ""}
        return next((name, value) for name, value in headers.items() if "KEY" in value)

    def reranker(self, mode: Mode, replay: Replay, **options: Any) -> anyrerank.Reranker:
        return mode.reranker(self.model, **{**self.needed, "http_client": replay.client(mode), **options})

    def ask(
        self, mode: Mode, body: Any, documents: Sequence[Any] = DOCUMENTS, *, status: int = 200, **options: Any
    ) -> tuple[RerankResponse, list[httpx.Request]]:
        """Rank `documents` with a server that answers `body`; returns what was sent too."""
        replay = answering(body, status)
        return mode.rerank(self.reranker(mode, replay, **options), QUERY, documents), replay.seen

    def refusal(
        self, mode: Mode, body: Any, status: int, headers: Mapping[str, str] | None = None, **options: Any
    ) -> RerankError:
        """The error when one document is sent and the server answers like this."""
        replay = answering(body, status, headers)
        with pytest.raises(RerankError) as caught:
            mode.rerank(self.reranker(mode, replay, **options), QUERY, DOCUMENTS[:1])
        assert len(replay.seen) == 1
        return caught.value


def _same(value: Any) -> Any:
    return value


def shown(response: RerankResponse) -> list[dict[str, Any]]:
    return [
        {"index": each.index, "relevance_score": each.relevance_score, "document": each.document}
        for each in response.results
    ]


@pytest.mark.parametrize("name", names())
def test_every_provider_is_recorded(name: str) -> None:
    recorded = recording(name)
    if "elsewhere" in recorded:
        assert (WIRE.parent.parent / recorded["elsewhere"]).exists()
        return
    titles = [each["name"] for each in recorded["cases"]]
    assert recorded["plain"] in titles
    assert len(titles) == len(set(titles))


def test_a_provider_without_a_recording_is_told_what_to_record() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"write tests/wire/acme\.json with a call, the request it sends"):
        recording("acme")


def test_every_recording_has_a_provider() -> None:
    assert {path.stem for path in WIRE.glob("*.json")} <= set(names())


NUMBERS = {"max_chunks_per_doc", "max_tokens_per_doc", "priority"}
"""Options that must be numbers at every provider."""


@each_provider
def test_the_card_is_filled_in(name: str) -> None:
    kind = load(name)
    assert kind.prefix == name
    assert kind.title
    assert kind.__doc__
    assert kind.scale in ("unit", "logit", "unknown")
    for variable in (*kind.key_variables, *kind.base_variables):
        assert variable == variable.upper()
    assert kind.default_base is None or kind.default_base.startswith("https://")
    taken = Options.model_fields.keys() - UNIFIED | CONNECTION
    assert all(option.isidentifier() and option not in taken for option in kind.options)


@pytest.mark.parametrize(("name", "recorded"), cases())
def test_recorded_call(
    name: str, recorded: dict[str, Any], mode: Mode, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    for variable, value in recorded.get("env", {}).items():
        monkeypatch.setenv(variable, value)
    replay = Replay(recorded["exchanges"])
    call = {"max_retries": 0, "http_client": replay.client(mode), **recorded["call"]}
    before = json.dumps(recorded["call"])

    if expected := recorded.get("error"):
        with pytest.raises(RerankError) as caught:
            mode.function(**call)
        error = caught.value
        assert type(error) is getattr(anyrerank, expected["class"])
        assert expected["says"] in error.message
        assert (error.provider, error.model) == (name, recorded["call"]["model"].partition("/")[2])
        for attribute in ("status", "request_id", "retry_after"):
            found = getattr(error, "status_code" if attribute == "status" else attribute)
            assert found == expected.get(attribute), attribute
    else:
        expected = recorded["expect"]
        response = mode.function(**call)
        exact = bool(recorded["exchanges"])
        wanted = [
            row if exact else {**row, "relevance_score": pytest.approx(row["relevance_score"], abs=1e-11)}
            for row in expected["results"]
        ]
        assert shown(response) == wanted
        assert response.meta.model_dump(mode="json", exclude_defaults=True, exclude_none=True) == expected["meta"]
        assert response.id == expected["id"] or (expected["id"] is None and response.id.startswith("rerank-"))
        assert response.provider == name
    replay.check()
    assert json.dumps(recorded["call"]) == before


# 1. The same request gives the same bytes; no I/O on the way.


@each_over_http
def test_building_and_reading_are_pure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = Dialect(name)
    provider = dialect.provider()
    request = RerankRequest(query=QUERY, documents=DOCUMENTS)
    answer = HttpResponse(
        status=200, headers={}, content=json.dumps(dialect.answer([(2, 0.5), (0, 0.25), (1, 0.125)])).encode()
    )

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("I/O in a pure function")

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "open", refuse)
        patched.setattr(os, "getenv", refuse)
        patched.setattr(socket, "socket", refuse)
        first, second = provider.build_request(request), provider.build_request(request)
        scores = provider.read(request, answer).scores

    assert first == second
    assert sorted(scores) == [(0, 0.25), (1, 0.125), (2, 0.5)]


# 2. The recorded body is what is sent (test_recorded_call); None is never sent.


@each_over_http
def test_none_is_never_sent(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    nothing: dict[str, Any] = dict.fromkeys(
        [*dialect.kind.options, "top_n", "rank_fields", "user", "metadata", "extra_body"]
    )
    body = dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)])
    _, (request,) = dialect.ask(mode, body, **nothing)
    _, (bare,) = dialect.ask(mode, body)
    assert request.content == bare.content
    assert b"null" not in request.content


@each_over_http
def test_user_metadata_and_return_documents_stay_here(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    body = dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)])
    _, (request,) = dialect.ask(mode, body, user="ann", metadata={"team": "search"}, return_documents=True)
    _, (bare,) = dialect.ask(mode, body)
    assert (request.content, request.headers) == (bare.content, bare.headers)


@each_over_http
def test_extra_body_is_merged_into_the_request(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    body = dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)])
    _, (request,) = dialect.ask(mode, body, extra_body={"beta": [1, None]})
    _, (bare,) = dialect.ask(mode, body)
    assert json.loads(request.content) == {**json.loads(bare.content), "beta": [1, None]}


# 4. The key is in one header and nowhere else.


@each_over_http
def test_the_key_is_in_one_header_and_nowhere_else(name: str, mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    dialect = Dialect(name)
    caplog.set_level(logging.DEBUG)
    response, (request,) = dialect.ask(mode, dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)]))
    header, value = dialect.key_header
    assert request.headers[header] == value.replace("KEY", KEY)
    assert [key for key, value in request.headers.multi_items() if KEY in value] == [header]
    assert KEY not in str(request.url)
    assert KEY.encode() not in request.content
    reranker = mode.reranker(dialect.model, **dialect.needed)
    provider = dialect.provider()
    built = provider.build_request(RerankRequest(query=QUERY, documents=DOCUMENTS))
    assert KEY not in f"{reranker!r} {provider!r} {provider.connection!r} {built!r} {response!r} {caplog.text}"


@each_over_http
@pytest.mark.parametrize("status", [401, 403, 400, 500])
def test_an_error_shows_no_key(name: str, status: int, mode: Mode) -> None:
    error = Dialect(name).refusal(mode, {"message": f"key {KEY} is wrong", "detail": [KEY]}, status)
    assert not leaks(error, [KEY])


@each_over_http
def test_a_missing_key_names_the_variables(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    if not dialect.provider().key_required:
        pytest.skip("works without a key")
    replay = answering({})
    with pytest.raises(anyrerank.AuthenticationError) as caught:
        mode.rerank(dialect.reranker(mode, replay, api_key=None), QUERY, DOCUMENTS)
    assert all(variable in caught.value.message for variable in dialect.kind.key_variables)
    assert replay.seen == []


# 5. Indices in range, once each, scores finite, best first, top_n kept.

BAD_ROWS = {
    "out of range": [(0, 0.5), (1, 0.25), (3, 0.125)],
    "negative": [(0, 0.5), (1, 0.25), (-1, 0.125)],
    "boolean": [(0, 0.5), (True, 0.25), (2, 0.125)],
    "fractional": [(0, 0.5), (1.5, 0.25), (2, 0.125)],
    "a whole float": [(0, 0.5), (1.0, 0.25), (2, 0.125)],
    "text": [(0, 0.5), ("1", 0.25), (2, 0.125)],
    "index null": [(0, 0.5), (None, 0.25), (2, 0.125)],
    "repeated": [(0, 0.5), (1, 0.25), (1, 0.125)],
    "fewer": [(0, 0.5), (1, 0.25)],
    "none": [],
    "score null": [(0, 0.5), (1, None), (2, 0.125)],
    "score text": [(0, 0.5), (1, "0.25"), (2, 0.125)],
    "score boolean": [(0, 0.5), (1, True), (2, 0.125)],
    "score list": [(0, 0.5), (1, [0.25]), (2, 0.125)],
    "score NaN": [(0, 0.5), (1, math.nan), (2, 0.125)],
    "score infinite": [(0, 0.5), (1, math.inf), (2, 0.125)],
    "score too long": [(0, 0.5), (1, 10**400), (2, 0.125)],
}


OF_INDEXES = tuple(BAD_ROWS)[:8]
"""Faults that an answer without indexes cannot have."""


@each_over_http
@pytest.mark.parametrize("rows", list(BAD_ROWS.values()), ids=list(BAD_ROWS))
def test_a_bad_row_is_an_error(name: str, rows: list[tuple[Any, Any]], mode: Mode) -> None:
    dialect = Dialect(name)
    kind = next(kind for kind, bad in BAD_ROWS.items() if bad is rows)
    if kind in dialect.recorded["answer"].get("allows", ()) or (dialect.positional and kind in OF_INDEXES):
        pytest.skip("is no fault in this dialect")
    with pytest.raises(APIResponseValidationError) as caught:
        dialect.ask(mode, dialect.answer(rows))
    assert not leaks(caught.value, [KEY, QUERY, *DOCUMENTS])


@each_over_http
@pytest.mark.parametrize("missing", ["index", "score"])
def test_a_row_without_index_or_score_is_an_error(name: str, missing: str, mode: Mode) -> None:
    dialect = Dialect(name)
    shape = dialect.recorded["answer"]
    if dialect.positional or f"no {missing}" in shape.get("allows", ()):
        pytest.skip("is no fault in this dialect")
    spelled = str if shape.get("index_is_text") else _same
    rows = [{shape["index"]: spelled(place), shape["score"]: 0.5} for place in range(3)]
    del rows[1][shape[missing]]
    with pytest.raises(APIResponseValidationError):
        dialect.ask(mode, dialect.around(rows))


@each_over_http
@pytest.mark.parametrize("top_n", [None, 1, 2, 3, 9])
def test_best_first_and_top_n_whatever_the_server_does(name: str, top_n: int | None, mode: Mode) -> None:
    dialect = Dialect(name)
    response, _ = dialect.ask(mode, dialect.answer([(0, 0.25), (1, 0.5), (2, 0.5)]), top_n=top_n)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.5), (2, 0.5), (0, 0.25)][:top_n]


@each_over_http
def test_scores_are_floats(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    response, _ = dialect.ask(mode, dialect.answer([(0, 1), (1, 0.5), (2, 0)]))
    assert [type(each.relevance_score) for each in response.results] == [float] * 3


@each_provider
def test_the_scale_is_what_the_card_says(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    raw = [row["relevance_score"] for row in dialect.expected["results"]]
    unit_call = partial(
        mode.rerank, dialect.reranker(mode, Replay(dialect.exchanges)), QUERY, DOCUMENTS, score_mode="unit"
    )
    if dialect.kind.scale == "unknown":
        with pytest.raises(BadRequestError, match="score_mode='unit' is not possible"):
            unit_call()
        return
    unit = [each.relevance_score for each in unit_call().results]
    assert all(score is not None and 0 <= score <= 1 for score in unit)
    if dialect.exchanges:
        expected = raw if dialect.kind.scale == "unit" else [1 / (1 + math.exp(-score)) for score in raw]
        assert unit == pytest.approx(expected)


# 6. Every status maps to its class, with request id and waiting time.


@each_over_http
@pytest.mark.parametrize(
    ("status", "expected"), [(status, kind) for kind, statuses in STATUSES.items() for status in statuses]
)
def test_status(name: str, status: int, expected: str, mode: Mode) -> None:
    dialect = Dialect(name)
    headers = {"x-request-id": "rq-1", "retry-after": "3"}
    error = dialect.refusal(mode, {"message": "not today"}, status, headers)
    assert type(error) is getattr(anyrerank, dialect.recorded["statuses"].get(str(status), expected))
    assert (error.status_code, error.request_id, error.retry_after) == (status, "rq-1", 3.0)
    assert (error.provider, f"{error.provider}/{error.model}") == (name, dialect.model)
    assert error.url == public_url(dialect.exchanges[0]["request"]["url"])
    assert status < 400 or "not today" in error.message


@each_over_http
@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        ("retry-after", "7", 7),
        ("retry-after", "0.5", 0.5),
        ("retry-after-ms", "1500", 1.5),
        ("x-ratelimit-reset", "4", 4),
        ("retry-after", "-3", 0),
        ("retry-after", "soon", None),
        ("retry-after", "nan", None),
    ],
)
def test_waiting_time(name: str, header: str, value: str, seconds: float | None, mode: Mode) -> None:
    assert Dialect(name).refusal(mode, {}, 429, {header: value}).retry_after == seconds


@each_over_http
def test_waiting_time_as_a_date(name: str, mode: Mode) -> None:
    replay = answering({}, 429)
    dialect = Dialect(name)

    def late(request: httpx.Request) -> httpx.Response:
        replay.exchanges[0]["response"]["headers"] = {"retry-after": formatdate(_now() + 90, usegmt=True)}
        return replay(request)

    client = mode.client(transport=httpx.MockTransport(late))
    with pytest.raises(anyrerank.RateLimitError) as caught:
        mode.rerank(mode.reranker(dialect.model, **{**dialect.needed, "http_client": client}), QUERY, DOCUMENTS)
    assert caught.value.retry_after == pytest.approx(90, abs=5)


def _now() -> float:
    import time

    return time.time()


MESSAGES: dict[str, Any] = {
    "error.message": {"error": {"message": "says why", "type": "x"}, "message": "no"},
    "error": {"error": "says why", "message": "no"},
    "detail.error": {"detail": {"error": "says why"}},
    "detail": {"detail": "says why", "title": "no"},
    "validation list": {"detail": [{"loc": ["body", "q"], "msg": "says why"}], "message": "no"},
    "message": {"message": "says why", "title": "no"},
    "title": {"title": "says why"},
    "text": "says why",
}


@each_over_http
@pytest.mark.parametrize("body", list(MESSAGES.values()), ids=list(MESSAGES))
def test_the_provider_s_own_words_are_found(name: str, body: Any, mode: Mode) -> None:
    message = Dialect(name).refusal(mode, body, 400).message
    assert "says why" in message
    assert "no" not in message.replace("says why", "").split()


# 7. Empty, HTML, truncated and wrong-typed bodies give our error.

NOT_ANSWERS: dict[str, Any] = {
    "empty": "",
    "blank": " \n",
    "html": "<!doctype html><html><body>It works!</body></html>",
    "text": "OK",
    "not utf-8": b"\xff\xfe\x00",
    "null": "null",
    "number": "1",
    "string": '"results"',
    "list of strings": '["a", "b", "c"]',
    "empty object": "{}",
    "error in a 200": '{"error": {"message": "overloaded"}}',
    "deep": "[" * 5000,
}


@each_over_http
@pytest.mark.parametrize("body", list(NOT_ANSWERS.values()), ids=list(NOT_ANSWERS))
def test_a_body_that_is_no_answer(name: str, body: str | bytes, mode: Mode) -> None:
    with pytest.raises(APIResponseValidationError) as caught:
        Dialect(name).ask(mode, body)
    assert caught.value.status_code == 200
    assert caught.value.provider == name


@each_over_http
@pytest.mark.parametrize("rows", [None, {}, "abc", 3, True, ["a", "b", "c"], [None] * 3, [[0, 0.5]] * 3])
def test_rows_of_the_wrong_type(name: str, rows: Any, mode: Mode) -> None:
    dialect = Dialect(name)
    with pytest.raises(APIResponseValidationError):
        dialect.ask(mode, dialect.around(rows))


@each_over_http
def test_an_answer_that_is_cut_off_anywhere(name: str, sync_mode: Mode) -> None:
    dialect = Dialect(name)
    whole = json.dumps(dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)]))
    for end in range(len(whole)):
        with pytest.raises(APIResponseValidationError):
            dialect.ask(sync_mode, whole[:end])


# 8. The declared options are exactly those that reach the wire.


@each_provider
def test_every_declared_option_is_recorded(name: str) -> None:
    dialect = Dialect(name)
    assert dialect.kind.options == dialect.recorded["options"].keys(), (
        f"tests/wire/{name}.json: for each option of the card, and for no other, record under 'options' a value that "
        "is 'given' and what of the body is 'sent' for it"
    )


@each_over_http
def test_declared_options_reach_the_wire(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    body = dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)])
    _, (bare,) = dialect.ask(mode, body)
    for option, recorded in dialect.recorded["options"].items():
        _, (request,) = dialect.ask(mode, body, **{option: recorded["given"], **recorded.get("with", {})})
        assert json.loads(request.content) == {**json.loads(bare.content), **recorded["sent"]}, option


@each_provider
def test_an_undeclared_option_is_refused_before_sending(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    every = frozenset[str]().union(*(load(other).options for other in names()), ["instruction", "no_such_option"])
    for option in sorted(every - dialect.kind.options):
        replay, given = Replay(dialect.exchanges), {option: 1 if option in NUMBERS else "x"}
        with pytest.raises(BadRequestError) as caught:
            dialect.reranker(mode, replay, **given)
        assert all(word in caught.value.message for word in (option, *dialect.kind.options, "drop_params"))
        with pytest.raises(BadRequestError, match=option):
            mode.rerank(dialect.reranker(mode, replay), QUERY, DOCUMENTS, **given)
        assert replay.seen == []
        response = mode.rerank(dialect.reranker(mode, replay, drop_params=True), QUERY, DOCUMENTS, **given)
        assert len(response.results) == 3
        replay.check_bodies()


# 9. Billed units or tokens are read, or declared absent.


@each_provider
def test_usage_is_read_or_declared_absent(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    usage = dialect.recorded["usage"]
    if usage is None:
        response = mode.rerank(dialect.reranker(mode, Replay(dialect.exchanges)), QUERY, DOCUMENTS)
        assert (response.meta.billed_units, response.meta.tokens) == (None, None)
        return
    rows = dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)])
    body = {**rows, **usage["answered"]} if "answered" in usage else rows
    replay = answering(body, headers=usage.get("headers"))
    response = mode.rerank(dialect.reranker(mode, replay), QUERY, DOCUMENTS)
    assert response.meta.model_dump(exclude_defaults=True, exclude_none=True) == usage["meta"]


@each_over_http
@pytest.mark.parametrize("broken", [None, {}, [], "12", -1, "NaN"])
def test_usage_that_is_not_there_is_not_made_up(name: str, broken: Any, mode: Mode) -> None:
    dialect = Dialect(name)
    usage = dialect.recorded["usage"]
    if usage is None or "answered" not in usage:
        pytest.skip("not in the body")
    rows = dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)])
    for answered in (dict.fromkeys(usage["answered"], broken), _leaves_as(usage["answered"], broken)):
        response, _ = dialect.ask(mode, {**rows, **answered})
        assert (response.meta.billed_units, response.meta.tokens) == (None, None)


def _leaves_as(tree: Mapping[str, Any], value: Any) -> dict[str, Any]:
    return {key: _leaves_as(below, value) if isinstance(below, dict) else value for key, below in tree.items()}


# 10. Both drivers agree.


@each_provider
def test_both_modes_send_and_return_the_same(name: str) -> None:
    dialect = Dialect(name)
    seen: list[Any] = []
    for asynchronous in (False, True):
        mode = Mode(asynchronous=asynchronous)
        replay = Replay(dialect.exchanges)
        response = mode.rerank(dialect.reranker(mode, replay), QUERY, DOCUMENTS)
        kept = response.model_dump(exclude={"latency", "attempts"} | (set() if dialect.expected["id"] else {"id"}))
        headers = [dict(request.headers) for request in replay.seen]
        seen.append((kept, len(response.attempts), headers, [request.content for request in replay.seen]))
        mode.finish()
    assert seen[0] == seen[1]


# 11. Base URL with and without slash, with and without version, full endpoint.


@each_over_http
@pytest.mark.parametrize("form", BASE_FORMS)
def test_base_url(name: str, form: str, mode: Mode) -> None:
    dialect = Dialect(name)
    assert dialect.recorded["bases"].keys() == set(BASE_FORMS), f"tests/wire/{name}.json: record 'bases' in each form"
    recorded = dialect.recorded["bases"][form]
    _, (request,) = dialect.ask(mode, dialect.answer([(0, 0.5), (1, 0.25), (2, 0.125)]), api_base=recorded["base"])
    assert str(request.url) == recorded["url"]


@each_over_http
@pytest.mark.parametrize("base", ["gw.example", "ftp://gw.example", "https://", "http://[::1", "http://gw:port/v1"])
def test_a_base_that_is_no_url(name: str, base: str, mode: Mode) -> None:
    dialect = Dialect(name)
    replay = answering({})
    with pytest.raises(anyrerank.ConfigurationError) as caught:
        mode.rerank(dialect.reranker(mode, replay, api_base=base), QUERY, DOCUMENTS)
    assert all(variable in caught.value.message for variable in dialect.kind.base_variables)
    assert replay.seen == []


@each_over_http
def test_a_query_string_in_the_base_is_in_no_error(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    base = dialect.recorded["bases"]["plain"]["base"] + "/v1?token=s3cr3t-token"
    error = dialect.refusal(mode, {"message": "no"}, 404, api_base=base)
    assert not leaks(error, ["s3cr3t-token"])


# 12. One document, duplicates, mappings, empty and non-Latin text.

LISTS: dict[str, list[Any]] = {
    "one": ["Ottawa"],
    "duplicates": ["Ottawa", "Lisbon", "Ottawa"],
    "mappings": [{"text": "Ottawa", "source": "a.pdf", "page": 3}, {"text": "Lisbon", "source": None}],
    "mixed": ["Ottawa", {"text": "Lisbon"}],
    "with blanks": ["", "Ottawa", " \n", {"text": "\u3000"}],
    "non-Latin": ["Оттава — столица", "オタワは首都", "أوتاوا", "ออตตาวา", "🇨🇦 \u200d", "e\u0301\u0000"],
}


@each_provider
@pytest.mark.parametrize("documents", list(LISTS.values()), ids=list(LISTS))
def test_documents_come_back_as_they_were_given(name: str, documents: list[Any], mode: Mode) -> None:
    dialect = Dialect(name)
    texts = [each if isinstance(each, str) else each["text"] for each in documents]
    kept = [index for index, text in enumerate(texts) if text.strip()]
    body = dialect.answer([(index, 1 / (index + 2)) for index in range(len(kept))]) if dialect.exchanges else {}
    before = json.dumps(documents)
    response, requests = dialect.ask(mode, body, documents)

    assert sorted(each.index for each in response.results) == list(range(len(documents)))
    assert [each.index for each in response.results if each.relevance_score is None] == [
        index for index in range(len(documents)) if index not in kept
    ]
    for each in response.results:
        given = documents[each.index]
        assert each.document == {"text": given} if isinstance(given, str) else each.document is given
    assert json.dumps(documents) == before
    for request in requests:
        strings = list(_strings(json.loads(request.content)))
        assert all(texts[index] in strings for index in kept)
        assert not any(texts[index] in strings for index in range(len(texts)) if index not in kept)


def _strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    for below in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _strings(below)


@each_provider
def test_nothing_to_rank_sends_nothing(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    replay = answering({})
    reranker = dialect.reranker(mode, replay)
    assert len(mode.rerank(reranker, QUERY, []).results) == 0
    blank = mode.rerank(reranker, QUERY, ["", " "])
    assert [(each.index, each.relevance_score) for each in blank.results] == [(0, None), (1, None)]
    assert blank.degraded
    with pytest.raises(BadRequestError, match="query must not be blank"):
        mode.rerank(reranker, " ", DOCUMENTS)
    assert replay.seen == []


@each_over_http
def test_text_that_json_cannot_hold(name: str, mode: Mode) -> None:
    dialect = Dialect(name)
    with pytest.raises(BadRequestError) as caught:
        dialect.ask(mode, {}, ["half a \ud83d pair"])
    assert not leaks(caught.value, ["half a"])
