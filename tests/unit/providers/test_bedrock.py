"""AWS Bedrock: signatures, sources of credentials and regions, pages, and two operations."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.parsers
import botocore.session
import httpx
import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering, leaks, sent_by
from tests.support.loopback import Line, Loopback

import anyrerank
from anyrerank import (
    APIConnectionError,
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    RateLimitError,
    RerankError,
)
from anyrerank._core.engine import connect
from anyrerank._core.types import RerankRequest
from anyrerank.providers._base import aws_session_for

MODEL = "bedrock/cohere.rerank-v3-5:0"
ARN = "arn:aws:bedrock:us-west-2::foundation-model/cohere.rerank-v3-5:0"
AGENT = "https://bedrock-agent-runtime.us-west-2.amazonaws.com"
RUNTIME = "https://bedrock-runtime.us-west-2.amazonaws.com"
INVOKE = "model/cohere.rerank-v3-5%3A0/invoke"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "k3pt-s3cret/0f+forty+letters+or+some+of+it"
PAIR = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET}
REGION = {"aws_region_name": "us-west-2"}
SIGNED: dict[str, Any] = {"api_key": None, **PAIR, **REGION}
"""Options of a signed call; without them `Mode.reranker` passes a key."""
NOON = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.timezone.utc)
ROWS = [{"index": 1, "relevanceScore": 0.75}, {"index": 0, "relevanceScore": 0.5}, {"index": 2, "relevanceScore": 0.25}]


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for variable in (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        path = tmp_path / variable.lower()
        path.touch()
        monkeypatch.setenv(variable, str(path))
    aws_session_for.cache_clear()
    yield
    aws_session_for.cache_clear()


def set_clock(monkeypatch: pytest.MonkeyPatch, now: Callable[[], dt.datetime]) -> None:
    """Set the time that botocore reads; older versions read it from the class."""
    if hasattr(botocore.auth, "get_current_datetime"):
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now().replace(tzinfo=None))
    else:
        clock = SimpleNamespace(datetime=SimpleNamespace(utcnow=now, now=lambda _: now()), timezone=dt.timezone)
        monkeypatch.setattr(botocore.auth, "datetime", clock)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, lambda: NOON)


@pytest.fixture
def profile(tmp_path: Path) -> None:
    (tmp_path / "aws_config_file").write_text("[default]\nregion = eu-west-1\n[profile work]\nregion = ca-central-1\n")
    (tmp_path / "aws_shared_credentials_file").write_text(
        "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = s-default\n"
        "[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s-work\naws_session_token = t-work\n"
    )


def rerank(mode: Mode, replay: Replay, documents: Any = DOCUMENTS, **options: Any) -> anyrerank.RerankResponse:
    made = {"model": MODEL, **SIGNED, **options}
    return mode.rerank(mode.reranker(**made, http_client=replay.client(mode)), QUERY, documents)


def sent(mode: Mode, documents: Any = DOCUMENTS, **options: Any) -> httpx.Request:
    made = {"model": MODEL, **SIGNED, **options}
    return sent_by(mode, documents=documents, **made)


def signature(request: httpx.Request, region: str, secret: str = SECRET) -> str:
    """Signature Version 4 of a request, computed without botocore."""
    moment, scope = request.headers["x-amz-date"], ""
    names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    lines = "".join(f"{name}:{request.headers[name]}\n" for name in names.split(";"))
    parts = urlsplit(str(request.url))
    body = hashlib.sha256(request.content).hexdigest()
    canonical = (
        f"POST\n{parts.path}\n{'&'.join(sorted(filter(None, parts.query.split('&'))))}\n{lines}\n{names}\n{body}"
    )
    key = f"AWS4{secret}".encode()
    for part in (moment[:8], region, "bedrock", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
        scope = f"{scope}/{part}" if scope else part
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def signature_in(request: httpx.Request) -> str:
    return request.headers["authorization"].partition("Signature=")[2]


# Signatures


@pytest.mark.parametrize("token", [None, "t0ken/with+signs=="])
@pytest.mark.parametrize("base", [None, "https://gw.example:8443/aws?tenant=7&a=1", "http://127.0.0.1:9/"])
def test_signature_is_the_one_of_botocore_over_the_bytes_sent(
    token: str | None, base: str | None, noon: None, mode: Mode
) -> None:
    request = sent(mode, ["Оттава", *DOCUMENTS], api_base=base, aws_session_token=token)
    names = "content-type;host;x-amz-date" + (";x-amz-security-token" if token else "")
    scope = "20260301/us-west-2/bedrock/aws4_request"
    start = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature="
    assert request.headers["authorization"] == start + signature(request, "us-west-2")
    assert request.headers["x-amz-date"] == "20260301T120000Z"
    assert request.headers.get("x-amz-security-token") == token

    credentials = botocore.credentials.Credentials(ACCESS_KEY, SECRET, token)
    theirs = botocore.awsrequest.AWSRequest(
        method="POST", url=str(request.url), data=request.content, headers={"content-type": "application/json"}
    )
    botocore.auth.SigV4Auth(credentials, "bedrock", "us-west-2").add_auth(theirs)
    assert request.headers["authorization"] == theirs.headers["Authorization"]


def test_signature_of_a_known_request_is_unchanged(noon: None, sync_mode: Mode) -> None:
    request = sent(sync_mode, ["Ottawa"], top_n=1)
    assert request.content == (
        b'{"queries":[{"type":"TEXT","textQuery":{"text":"Which city is the capital of Canada?"}}],'
        b'"rerankingConfiguration":{"type":"BEDROCK_RERANKING_MODEL","bedrockRerankingConfiguration":{"numberOfResults"'
        b':1,"modelConfiguration":{"modelArn":"arn:aws:bedrock:us-west-2::foundation-model/cohere.rerank-v3-5:0"}}},'
        b'"sources":[{"type":"INLINE","inlineDocumentSource":{"type":"TEXT","textDocument":{"text":"Ottawa"}}}]}'
    )
    assert signature_in(request) == "b9976b4b20d0a982f91127f2eb0e84b168899f756d2e37d7f84e2405801ebc99"


def test_retry_has_a_new_signature(mode: Mode, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = iter(range(10))

    set_clock(monkeypatch, lambda: NOON.replace(minute=next(minutes)))
    replay = Replay(
        [{"response": {"status": 500, "text": ""}}, {"response": {"status": 200, "json": {"results": ROWS}}}]
    )
    rerank(mode, replay, max_retries=1)
    assert [request.headers["x-amz-date"] for request in replay.seen] == ["20260301T120000Z", "20260301T120100Z"]
    for request in replay.seen:
        assert signature_in(request) == signature(request, "us-west-2")


# Bodies, compared with botocore's client


Bodies = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@pytest.fixture
def as_botocore_sends() -> Bodies:
    """Validates a body against the service model and returns the body that botocore's client sends."""
    client = botocore.session.Session().create_client("bedrock-agent-runtime", region_name="us-west-2", **PAIR)
    asked: list[Any] = []

    def answer(request: Any, **_: Any) -> Any:
        asked.append(request)
        raw = type("Raw", (), {"stream": lambda self: iter([b'{"results":[]}'])})()
        return botocore.awsrequest.AWSResponse(request.url, 200, {}, raw)

    client.meta.events.register("before-send.bedrock-agent-runtime.Rerank", answer)

    def send(body: Mapping[str, Any]) -> Mapping[str, Any]:
        client.rerank(**body)
        assert asked[-1].url == f"{AGENT}/rerank"
        assert "/us-west-2/bedrock/aws4_request" in str(asked[-1].headers["Authorization"])
        made: Mapping[str, Any] = json.loads(asked[-1].body)
        return made

    return send


def text(document: str) -> dict[str, Any]:
    return {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": document}}}


def data(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "INLINE", "inlineDocumentSource": {"type": "JSON", "jsonDocument": document}}


CITY = {"text": "Ottawa", "country": "Canada", "year": 1857, "twins": ["Beijing", None], "seat": True, "area": 2790.3}


@pytest.mark.parametrize(
    ("documents", "options", "sources", "count", "fields"),
    [
        (DOCUMENTS, {}, [text(each) for each in DOCUMENTS], 3, None),
        (DOCUMENTS, {"top_n": 2}, [text(each) for each in DOCUMENTS], 2, None),
        (DOCUMENTS, {"top_n": 50}, [text(each) for each in DOCUMENTS], 3, None),
        ([CITY, "Lisbon"], {}, [data(CITY), text("Lisbon")], 2, None),
        (
            [CITY, "Lisbon"],
            {"rank_fields": ["year", "text"]},
            [data({"year": 1857, "text": "Ottawa"}), text("Lisbon")],
            2,
            None,
        ),
        ([" ", "Lisbon", {"text": ""}], {"top_n": 3}, [text("Lisbon")], 1, None),
        (
            ["Lisbon"],
            {"additional_model_request_fields": {"a": {"b": [1, 2.5, None, "c"]}}},
            [text("Lisbon")],
            1,
            {"a": {"b": [1, 2.5, None, "c"]}},
        ),
        (["Lisbon"], {"additional_model_request_fields": {}}, [text("Lisbon")], 1, None),
    ],
)
def test_body_is_the_one_that_botocore_sends(
    *,
    documents: Any,
    options: dict[str, Any],
    sources: Any,
    count: int,
    fields: Any,
    as_botocore_sends: Bodies,
    mode: Mode,
) -> None:
    body = json.loads(sent(mode, documents, **options).content)
    model = {"modelArn": ARN, **({"additionalModelRequestFields": fields} if fields else {})}
    assert body == {
        "queries": [{"type": "TEXT", "textQuery": {"text": QUERY}}],
        "rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"numberOfResults": count, "modelConfiguration": model},
        },
        "sources": sources,
    }
    assert as_botocore_sends(body) == body


# Answers


def test_answer_is_read_with_estimated_search_units(mode: Mode) -> None:
    echoed = [{**row, "document": {"type": "TEXT", "textDocument": {"text": "an echo"}}} for row in reversed(ROWS)]
    replay = answering({"results": echoed}, headers={"x-amzn-requestid": "rq-7"})
    response = rerank(mode, replay)
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.75), (0, 0.5), (2, 0.25)]
    assert [each.document for each in response.results] == [{"text": DOCUMENTS[index]} for index in (1, 0, 2)]
    assert (response.id, response.request_id) == ("rq-7", "rq-7")
    assert response.meta.model_dump(exclude_none=True, exclude_defaults=True) == {
        "billed_units": {"search_units": 1},
        "estimated": True,
    }
    assert rerank(mode, answering({"results": ROWS})).id.startswith("rerank-")


@pytest.mark.parametrize(
    "rows",
    [
        [{"index": 0, "relevance_score": 0.5}] * 3,
        ROWS[:2],
        [*ROWS, ROWS[0]],
        [*ROWS[:2], {"index": 3, "relevanceScore": 0.5}],
        [*ROWS[:2], {"index": 2, "relevanceScore": "0.5"}],
        [*ROWS[:2], {"index": True, "relevanceScore": 0.5}],
        [*ROWS[:2], {"relevanceScore": 0.5}],
        [*ROWS[:2], None],
        None,
    ],
)
def test_malformed_answer_raises_validation_error(rows: Any, mode: Mode) -> None:
    with pytest.raises(APIResponseValidationError):
        rerank(mode, answering({"results": rows}))


def pages(*bodies: Any) -> Replay:
    return Replay(
        [{"response": {"status": 200, "headers": {"x-amzn-requestid": "rq"}, "json": body}} for body in bodies]
    )


def test_pages_are_joined_into_one_answer(mode: Mode) -> None:
    replay = pages(
        {"results": ROWS[:1], "nextToken": "t-1"}, {"results": [], "nextToken": "t-2"}, {"results": ROWS[1:]}
    )
    response = rerank(mode, replay, extra_body={"beta": 1})
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.75), (0, 0.5), (2, 0.25)]
    assert len(response.attempts) == 1
    first, *others = (json.loads(request.content) for request in replay.seen)
    assert others == [{**first, "nextToken": "t-1"}, {**first, "nextToken": "t-2"}]
    for request in replay.seen:
        assert signature_in(request) == signature(request, "us-west-2")


@pytest.mark.parametrize(
    "last",
    [
        {"results": ROWS[1:], "nextToken": "t-1"},
        {"results": ROWS[1:], "nextToken": 7},
        {"results": ROWS[1:2]},
        {"results": ROWS[:1] + ROWS[1:2]},
        {"results": None},
        {},
        [],
    ],
    ids=["token repeated", "token no text", "too few", "index repeated", "no list", "no results", "no object"],
)
def test_malformed_page_raises_validation_error(last: Any, mode: Mode) -> None:
    replay = pages({"results": ROWS[:1], "nextToken": "t-1"}, last, {"results": ROWS[1:]})
    with pytest.raises(APIResponseValidationError):
        rerank(mode, replay)
    assert len(replay.seen) == 2


def test_failing_page_raises_its_error(mode: Mode) -> None:
    failure = {"status": 429, "headers": {"x-amzn-requestid": "rq-2"}, "json": {"message": "slow down"}}
    replay = Replay(
        [{"response": {"status": 200, "json": {"results": ROWS[:1], "nextToken": "t"}}}, {"response": failure}]
    )
    with pytest.raises(RateLimitError, match="slow down") as caught:
        rerank(mode, replay)
    assert caught.value.request_id == "rq-2"


@pytest.mark.parametrize(("top_n", "results"), [(None, 1002), (3, 3)])
def test_more_than_1000_documents_are_split(top_n: int | None, results: int, mode: Mode) -> None:
    asked: list[tuple[int, int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        texts = [source["inlineDocumentSource"]["textDocument"]["text"] for source in body["sources"]]
        count = body["rerankingConfiguration"]["bedrockRerankingConfiguration"]["numberOfResults"]
        asked.append((len(texts), count))
        rows = [{"index": index, "relevanceScore": 1 / (2000 - int(each))} for index, each in enumerate(texts)]
        return httpx.Response(200, json={"results": rows[::-1][:count]})

    client = mode.client(transport=httpx.MockTransport(answer))
    reranker = mode.reranker(MODEL, **SIGNED, http_client=client)
    response = mode.rerank(reranker, QUERY, [str(index) for index in range(1002)], top_n=top_n)
    assert sorted(asked) == [(2, min(2, top_n or 2)), (1000, top_n or 1000)]
    assert [each.index for each in response.results] == list(range(1001, -1, -1))[:results]
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.search_units == math.ceil(1000 / 100) + 1
    assert response.meta.estimated


# Errors before anything is sent


@pytest.mark.parametrize("bearer", [False, True])
def test_text_of_more_than_32000_characters_raises_before_sending(bearer: bool, mode: Mode) -> None:
    key = {"api_key": KEY} if bearer else {}
    assert sent(mode, ["x" * 32_000], **key).content.count(b"x") >= 32_000
    replay = Replay([])
    documents = ["", "short", "x" * 32_001]
    with pytest.raises(BadRequestError, match=r"documents\[2\] has more than the 32,000 characters") as caught:
        rerank(mode, replay, documents, **key)
    assert not leaks(caught.value, ["x" * 20])
    reranker = mode.reranker(MODEL, **{**SIGNED, **key}, http_client=replay.client(mode))
    with pytest.raises(BadRequestError, match=r"the query has more than the 32,000 characters"):
        mode.rerank(reranker, "q" * 32_001, DOCUMENTS)
    assert replay.seen == []


def test_length_limit_of_a_mapping_applies_to_the_text_sent(mode: Mode) -> None:
    long = {"text": "x" * 32_001, "title": "short"}
    assert json.loads(sent(mode, [long]).content)["sources"] == [data(long)]
    with pytest.raises(BadRequestError, match=r"documents\[0\] has more than"):
        sent(mode, [long], api_key=KEY)
    body = json.loads(sent(mode, [long], api_key=KEY, rank_fields=["title"]).content)
    assert body["documents"] == ["title: short\n"]


# Regions


@pytest.mark.parametrize(
    ("options", "environment", "region"),
    [
        ({"model": f"bedrock/{ARN}", "aws_region_name": "eu-central-1"}, {"AWS_REGION": "us-east-1"}, "eu-central-1"),
        ({"model": f"bedrock/{ARN}"}, {"AWS_REGION_NAME": "us-east-1"}, "us-west-2"),
        ({}, {"AWS_REGION_NAME": "r-1", "AWS_REGION": "r-2", "AWS_DEFAULT_REGION": "r-3"}, "r-1"),
        ({}, {"AWS_REGION": "r-2", "AWS_DEFAULT_REGION": "r-3"}, "r-2"),
        ({}, {"AWS_DEFAULT_REGION": "r-3"}, "r-3"),
        ({}, {}, "eu-west-1"),
        ({}, {"AWS_PROFILE": "work"}, "ca-central-1"),
        ({"aws_profile_name": "work"}, {"AWS_PROFILE": "default"}, "ca-central-1"),
        ({"aws_profile_name": "work"}, {"AWS_DEFAULT_REGION": "r-3"}, "r-3"),
        ({"model": f"bedrock/{ARN}", "aws_profile_name": "work"}, {}, "us-west-2"),
        ({"api_base": "https://bedrock-agent-runtime.us-east-1.amazonaws.com"}, {"AWS_REGION": "r-2"}, "r-2"),
    ],
)
@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize("keys", [PAIR, {}], ids=["keys given", "keys of the profile"])
def test_region_comes_from_argument_arn_environment_or_profile(
    *,
    options: dict[str, Any],
    environment: dict[str, str],
    region: str,
    keys: dict[str, str],
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    request = sent_by(mode, **{"model": MODEL, "api_key": None, **keys, **options})
    assert f"/{region}/bedrock/aws4_request" in request.headers["authorization"]
    if "api_base" not in options:
        assert request.url.host == f"bedrock-agent-runtime.{region}.amazonaws.com"


@pytest.mark.parametrize("key", [None, KEY])
def test_missing_region_names_the_variables(key: str | None, mode: Mode) -> None:
    replay = Replay([])
    with pytest.raises(ConfigurationError) as caught:
        rerank(mode, replay, api_key=key, aws_region_name=None)
    for name in ("aws_region_name", "AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"):
        assert name in caught.value.message
    assert replay.seen == []


@pytest.mark.parametrize(
    ("model", "region", "arn", "domain"),
    [
        (
            "amazon.rerank-v1:0",
            "us-west-2",
            "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0",
            "amazonaws.com",
        ),
        (
            "amazon.rerank-v1:0",
            "cn-north-1",
            "arn:aws-cn:bedrock:cn-north-1::foundation-model/amazon.rerank-v1:0",
            "amazonaws.com.cn",
        ),
        (
            "amazon.rerank-v1:0",
            "us-gov-west-1",
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.rerank-v1:0",
            "amazonaws.com",
        ),
        (
            "arn:aws-cn:bedrock:cn-north-1::foundation-model/x",
            None,
            "arn:aws-cn:bedrock:cn-north-1::foundation-model/x",
            "amazonaws.com.cn",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x",
            None,
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x",
            "amazonaws.com",
        ),
    ],
)
def test_partition_decides_arn_and_host(
    *, model: str, region: str | None, arn: str, domain: str, as_botocore_sends: Bodies, sync_mode: Mode
) -> None:
    request = sent(sync_mode, model=f"bedrock/{model}", aws_region_name=region)
    body = json.loads(request.content)
    assert body["rerankingConfiguration"]["bedrockRerankingConfiguration"]["modelConfiguration"]["modelArn"] == arn
    assert as_botocore_sends(body) == body
    host = f"bedrock-agent-runtime.{arn.split(':')[3]}.{domain}"
    assert str(request.url) == f"https://{host}/rerank"
    with_key = sent(sync_mode, model=f"bedrock/{model}", aws_region_name=region, api_key=KEY)
    assert with_key.url.host == host.replace("-agent", "")


# URLs


@pytest.mark.parametrize(
    ("base", "signed", "bearer"),
    [
        (None, f"{AGENT}/rerank", f"{RUNTIME}/{INVOKE}"),
        (f"{AGENT}/", f"{AGENT}/rerank", f"{RUNTIME}/{INVOKE}"),
        (RUNTIME, f"{AGENT}/rerank", f"{RUNTIME}/{INVOKE}"),
        (
            "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com",
            "https://bedrock-agent-runtime-fips.us-gov-west-1.amazonaws.com/rerank",
            f"https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/{INVOKE}",
        ),
        (
            "https://bedrock-agent-runtime.cn-north-1.amazonaws.com.cn",
            "https://bedrock-agent-runtime.cn-north-1.amazonaws.com.cn/rerank",
            f"https://bedrock-runtime.cn-north-1.amazonaws.com.cn/{INVOKE}",
        ),
        ("https://gw.example", "https://gw.example/rerank", f"https://gw.example/{INVOKE}"),
        ("https://gw.example/a//", "https://gw.example/a/rerank", f"https://gw.example/a/{INVOKE}"),
        ("https://gw.example/v1?t=1", "https://gw.example/v1/rerank?t=1", f"https://gw.example/v1/{INVOKE}?t=1"),
        (
            "https://bedrock-runtime.gw.example",
            "https://bedrock-runtime.gw.example/rerank",
            f"https://bedrock-runtime.gw.example/{INVOKE}",
        ),
        ("http://localhost:4566", "http://localhost:4566/rerank", f"http://localhost:4566/{INVOKE}"),
    ],
)
def test_url_composition(base: str | None, signed: str, bearer: str, sync_mode: Mode) -> None:
    assert str(sent(sync_mode, api_base=base).url) == signed
    assert str(sent(sync_mode, api_base=base, api_key=KEY).url) == bearer


@pytest.mark.parametrize("base", [f"{AGENT}/rerank", f"{AGENT}/rerank/", "https://gw.example/aws/rerank"])
def test_full_url_is_used_unchanged(base: str, sync_mode: Mode) -> None:
    assert str(sent(sync_mode, api_base=base).url) == base.rstrip("/")


@pytest.mark.parametrize(
    "variable", ["AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME", "BEDROCK_API_BASE", "AWS_BEDROCK_RUNTIME_ENDPOINT"]
)
def test_base_url_is_read_from_the_environment(variable: str, sync_mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "https://bedrock-runtime.us-east-1.amazonaws.com/")
    request = sent(sync_mode)
    assert str(request.url) == "https://bedrock-agent-runtime.us-east-1.amazonaws.com/rerank"
    assert "/us-west-2/bedrock/" in request.headers["authorization"]


# Credentials

KEYS_IN_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s-env"}
BEARER_IN_ENVIRONMENT = {"AWS_BEARER_TOKEN_BEDROCK": "b-env"}


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize(
    ("options", "environment", "start", "secret"),
    [
        ({"api_key": KEY}, KEYS_IN_ENVIRONMENT, f"Bearer {KEY}", None),
        ({"api_key": KEY}, {"AWS_PROFILE": "work"}, f"Bearer {KEY}", None),
        ({}, BEARER_IN_ENVIRONMENT, "Bearer b-env", None),
        ({}, {**BEARER_IN_ENVIRONMENT, **KEYS_IN_ENVIRONMENT}, "AWS4-HMAC-SHA256 Credential=AKIDENV/", "s-env"),
        ({}, {**BEARER_IN_ENVIRONMENT, "AWS_PROFILE": "work"}, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        (PAIR, BEARER_IN_ENVIRONMENT, f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/", SECRET),
        (PAIR, KEYS_IN_ENVIRONMENT, f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/", SECRET),
        ({}, KEYS_IN_ENVIRONMENT, "AWS4-HMAC-SHA256 Credential=AKIDENV/", "s-env"),
        ({}, {"AWS_PROFILE": "work"}, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        ({"aws_profile_name": "work"}, {}, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        ({"aws_profile_name": "work"}, BEARER_IN_ENVIRONMENT, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        ({"aws_profile_name": "work"}, KEYS_IN_ENVIRONMENT, "AWS4-HMAC-SHA256 Credential=AKIDWORK/", "s-work"),
        ({}, {}, "AWS4-HMAC-SHA256 Credential=AKIDDEFAULT/", "s-default"),
    ],
)
def test_credentials_in_order_of_precedence(
    *,
    options: dict[str, Any],
    environment: dict[str, str],
    start: str,
    secret: str | None,
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    request = sent_by(mode, MODEL, **{"api_key": None, **REGION, **options})
    assert request.headers["authorization"].startswith(start)
    assert request.headers.get("x-amz-security-token") == ("t-work" if secret == "s-work" else None)
    if secret:
        assert signature_in(request) == signature(request, "us-west-2", secret)


def test_session_token_from_environment_is_not_sent_with_passed_keys(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**KEYS_IN_ENVIRONMENT, "AWS_SESSION_TOKEN": "t-env"}.items():
        monkeypatch.setenv(name, value)
    from_environment = sent_by(mode, MODEL, api_key=None, **REGION)
    assert from_environment.headers["x-amz-security-token"] == "t-env"
    assert "x-amz-security-token" not in sent(mode).headers
    assert sent(mode, aws_session_token="t-own").headers["x-amz-security-token"] == "t-own"


@pytest.mark.parametrize("given", list(PAIR))
def test_one_key_of_two_raises_before_sending(given: str, mode: Mode) -> None:
    replay = Replay([])
    with pytest.raises(AuthenticationError, match="aws_access_key_id and aws_secret_access_key") as caught:
        rerank(mode, replay, **{**dict.fromkeys(PAIR), given: SECRET})
    assert not leaks(caught.value, [SECRET])
    assert replay.seen == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no AWS credentials: pass aws_access_key_id="),
        ({"aws_profile_name": "absent"}, r"no AWS credentials: The config profile \(absent\) could not be found"),
        ({"aws_profile_name": "half"}, "no AWS credentials: Partial credentials found"),
    ],
)
def test_missing_credentials_raise_before_sending(
    options: dict[str, Any], message: str, mode: Mode, tmp_path: Path
) -> None:
    (tmp_path / "aws_shared_credentials_file").write_text("[half]\naws_access_key_id = AKIDHALF\n")
    replay = Replay([])
    with pytest.raises(AuthenticationError, match=message) as caught:
        rerank(mode, replay, **{**dict.fromkeys(PAIR), **options})
    assert caught.value.provider == "bedrock"
    assert replay.seen == []


@pytest.mark.parametrize("closed", [False, True])
def test_role_that_cannot_be_assumed_raises_and_fails_over(
    closed: bool, serve: Callable[..., Loopback], mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sts = serve(lambda line: line.answer(403, {"Error": {"Code": "AccessDenied", "Message": "not yours"}}))
    if closed:
        sts.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "aws_config_file").write_text(
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/ranker\nsource_profile = keys\n"
    )
    (tmp_path / "aws_shared_credentials_file").write_text(
        f"[keys]\naws_access_key_id = AKIDKEYS\naws_secret_access_key = {SECRET}\n"
    )
    replay = Replay([])
    with pytest.raises(APIConnectionError if closed else AuthenticationError, match="AWS credentials") as caught:
        rerank(mode, replay, **{**dict.fromkeys(PAIR), "aws_profile_name": "role"})
    assert not leaks(caught.value, [SECRET])
    assert replay.seen == []
    reranker = mode.reranker(
        MODEL, api_key=None, aws_profile_name="role", aws_region_name="us-west-2", fallbacks=["local/lexical"]
    )
    assert mode.rerank(reranker, QUERY, DOCUMENTS).provider == "local"


@pytest.mark.parametrize("missing", ["botocore", "botocore.auth", "botocore.session"])
def test_missing_botocore_names_the_extra(missing: str, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    replay = Replay([])
    keys = {} if missing == "botocore.session" else PAIR
    with pytest.raises(ConfigurationError, match=r"pip install 'anyrerank\[bedrock\]'"):
        rerank(mode, replay, **{**dict.fromkeys(PAIR), **keys})
    assert replay.seen == []
    with_key = rerank(mode, answering({"results": [{"index": 0, "relevance_score": 0.5}]}), DOCUMENTS[:1], api_key=KEY)
    assert len(with_key.results) == 1


# API keys call InvokeModel


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        ("cohere.rerank-v3-5:0", "/model/cohere.rerank-v3-5%3A0/invoke", 2),
        (ARN, "/model/cohere.rerank-v3-5%3A0/invoke", 2),
        ("amazon.rerank-v1:0", "/model/amazon.rerank-v1%3A0/invoke", None),
    ],
)
def test_api_key_calls_invoke_model(model: str, path: str, version: int | None, mode: Mode) -> None:
    request = sent(mode, model=f"bedrock/{model}", api_key=KEY, top_n=2)
    assert request.url.raw_path.decode() == path
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert not [name for name in request.headers if name.startswith("x-amz-")]
    expected = {"query": QUERY, "documents": DOCUMENTS, "top_n": 2}
    assert json.loads(request.content) == {**expected, **({"api_version": version} if version else {})}


# Errors


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ValidationException", 400, "BadRequestError"),
        ("ServiceQuotaExceededException", 400, "RateLimitError"),
        ("AccessDeniedException", 403, "PermissionDeniedError"),
        ("UnrecognizedClientException", 403, "AuthenticationError"),
        ("InvalidSignatureException", 403, "AuthenticationError"),
        ("ExpiredTokenException", 403, "AuthenticationError"),
        ("ExpiredTokenException", 400, "AuthenticationError"),
        ("MissingAuthenticationTokenException", 403, "AuthenticationError"),
        ("IncompleteSignatureException", 403, "AuthenticationError"),
        ("IncompleteSignatureException", 400, "AuthenticationError"),
        ("UnrecognizedClientException", 401, "AuthenticationError"),
        ("ResourceNotFoundException", 404, "NotFoundError"),
        ("ConflictException", 409, "InternalServerError"),
        ("DependencyFailedException", 424, "InternalServerError"),
        ("ThrottlingException", 429, "RateLimitError"),
        ("InternalServerException", 500, "InternalServerError"),
        ("BadGatewayException", 502, "InternalServerError"),
        ("SomethingNewException", 418, "BadRequestError"),
    ],
)
@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("{}", {"message": "says why"}),
        ("{}:http://internal.amazon.com/coral/com.amazon.bedrock/", {"Message": "says why"}),
        (None, {"__type": "{}", "message": "says why"}),
        (None, {"__type": "com.amazon.coral.service#{}", "Message": "says why"}),
        (None, {"code": "{}", "message": "says why", "reason": "x", "resourceName": "y"}),
    ],
    ids=["header", "header with an address", "type", "type with a name space", "code"],
)
def test_error_code_decides_the_class(
    *, code: str, status: int, kind: str, header: str | None, body: Mapping[str, str], sync_mode: Mode
) -> None:
    headers = {"x-amzn-requestid": "rq-9"}
    if header:
        headers["x-amzn-errortype"] = header.format(code)
    filled = {name: value.format(code) for name, value in body.items()}
    for key in (None, KEY):
        with pytest.raises(RerankError) as caught:
            rerank(sync_mode, answering(filled, status, headers), api_key=key)
        assert type(caught.value) is getattr(anyrerank, kind)
        assert (caught.value.status_code, caught.value.request_id) == (status, "rq-9")
        assert caught.value.message.endswith(f"answered {status}: says why")

    raw = {"status_code": status, "headers": headers, "body": json.dumps(filled).encode()}
    parsed = botocore.parsers.create_parser("rest-json").parse(raw, None)
    assert parsed["Error"] == {"Code": code, "Message": "says why"}


@pytest.mark.parametrize("text", ["", "<html><body>Bad Gateway</body></html>", "null", "[]", '"x"', '{"__type": 7}'])
def test_error_without_a_code_has_the_class_of_its_status(text: str, mode: Mode) -> None:
    with pytest.raises(anyrerank.InternalServerError) as caught:
        rerank(mode, answering(text, 503))
    assert caught.value.status_code == 503


@pytest.mark.parametrize("length", [40, 900])
def test_signature_error_that_quotes_the_headers_is_withheld(length: int, mode: Mode) -> None:
    token = "".join(f"{index:03x}-" for index in range(length))[:length]

    def answer(request: httpx.Request) -> httpx.Response:
        signed = "\n".join(f"{name}:{value}" for name, value in request.headers.items() if name.startswith("x-amz"))
        message = f"The canonical string should have been 'POST\n/rerank\n\n{signed}' and {SECRET} is wrong"
        return httpx.Response(403, json={"message": message}, headers={"x-amzn-errortype": "InvalidSignatureException"})

    client = mode.client(transport=httpx.MockTransport(answer))
    reranker = mode.reranker(MODEL, **SIGNED, aws_session_token=token, http_client=client)
    with pytest.raises(AuthenticationError, match=r"403: InvalidSignatureException: .*withheld") as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    assert not leaks(caught.value, [SECRET, token, token[:24], token[24:48]])


def test_reprs_and_responses_hold_no_secret(mode: Mode) -> None:
    token = "t0ken-of-a-session"
    reranker = mode.reranker(MODEL, **SIGNED, aws_session_token=token)
    provider = connect(MODEL, settings={**PAIR, **REGION, "aws_session_token": token})
    built = provider.build_request(RerankRequest(query=QUERY, documents=DOCUMENTS))
    shown = f"{reranker!r} {provider!r} {provider.connection!r} {built!r}"
    response = rerank(mode, answering({"results": ROWS}), aws_session_token=token)
    for secret in (SECRET, token):
        assert secret not in f"{shown} {response!r} {response.model_dump_json()}"


@pytest.mark.parametrize("model", ["cohere.rerank-v3-5:0", ARN])
def test_region_before_the_model_is_the_region(model: str, sync_mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    request = sent_by(
        sync_mode, f"bedrock/eu-central-1/{model}", api_key=None, aws_access_key_id="AKID", aws_secret_access_key="s"
    )
    assert request.url.host == "bedrock-agent-runtime.eu-central-1.amazonaws.com"
    assert "/eu-central-1/bedrock/" in request.headers["authorization"]
    configuration = json.loads(request.content)["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    expected = ARN if model == ARN else f"arn:aws:bedrock:eu-central-1::foundation-model/{model}"
    assert configuration["modelConfiguration"]["modelArn"] == expected


def test_argument_wins_over_the_region_before_the_model(sync_mode: Mode) -> None:
    model = "bedrock/eu-central-1/cohere.rerank-v3-5:0"
    assert "us-west-2" in sent_by(sync_mode, model, aws_region_name="us-west-2").url.host


# Roles

ROLE = "arn:aws:iam::123456789012:role/reranking"


@pytest.fixture
def sts(serve: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The requests to STS, which answers each with a new key that expires in an hour, or soon in a session `short`."""
    asked: list[dict[str, str]] = []

    def answer(line: Line) -> None:
        form = dict(parse_qsl(line.hit.body.decode()))
        asked.append({**form, "key": line.hit.headers.get("authorization", "")})
        until = (
            dt.datetime.now(dt.timezone.utc) + dt.timedelta(minutes=5 if form["RoleSessionName"] == "short" else 60)
        ).strftime("%Y-%m-%dT%H:%M:%SZ")
        action = form["Action"]
        line.answer(
            200,
            f"<{action}Response xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><{action}Result><Credentials>"
            f"<AccessKeyId>ASIA{len(asked)}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>token-{len(asked)}</SessionToken><Expiration>{until}</Expiration></Credentials>"
            f"</{action}Result></{action}Response>",
            {"content-type": "text/xml"},
        )

    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", serve(answer).url)
    return asked


def test_role_is_assumed_once_and_signs_the_requests(sts: list[dict[str, str]], mode: Mode) -> None:
    role = {"aws_role_name": ROLE, "aws_session_name": "search", "aws_external_id": "partner-7"}
    for _ in range(2):
        request = sent(mode, **role)
        assert "Credential=ASIA1/" in request.headers["authorization"]
        assert request.headers["x-amz-security-token"] == "token-1"
    (asked,) = sts
    assert asked["Action"] == "AssumeRole"
    assert (asked["RoleArn"], asked["RoleSessionName"], asked["ExternalId"]) == (ROLE, "search", "partner-7")
    assert f"Credential={PAIR['aws_access_key_id']}/" in asked["key"]


@pytest.mark.parametrize("in_file", [False, True])
def test_role_is_assumed_with_a_web_identity(
    in_file: bool, sts: list[dict[str, str]], mode: Mode, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("eyJhbGciOi.x.y\n")
    token = str(tmp_path / "token") if in_file else "eyJhbGciOi.x.y"
    options = {"aws_role_name": ROLE, "aws_web_identity_token": token, **REGION}
    replay = answering({"results": ROWS})
    mode.rerank(mode.reranker(MODEL, api_key=None, http_client=replay.client(mode), **options), QUERY, DOCUMENTS)
    assert "Credential=ASIA1/" in replay.seen[0].headers["authorization"]
    assert (sts[0]["Action"], sts[0]["WebIdentityToken"]) == ("AssumeRoleWithWebIdentity", "eyJhbGciOi.x.y")


def test_credentials_of_a_role_are_renewed_before_they_expire(sts: list[dict[str, str]], mode: Mode) -> None:
    replay = Replay([{"response": {"status": 200, "json": {"results": ROWS}}}] * 2)
    options = {**SIGNED, "aws_role_name": ROLE, "aws_session_name": "short"}
    reranker = mode.reranker(MODEL, http_client=replay.client(mode), **options)
    for _ in range(2):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    keys = [request.headers["authorization"].partition("Credential=")[2].partition("/")[0] for request in replay.seen]
    assert keys[0] != keys[1]
    assert keys[1] == f"ASIA{len(sts)}"


def test_settings_of_a_role_need_the_role(mode: Mode) -> None:
    with pytest.raises(anyrerank.ConfigurationError, match="aws_external_id, aws_session_name without aws_role_name"):
        sent(mode, aws_session_name="a", aws_external_id="b")
