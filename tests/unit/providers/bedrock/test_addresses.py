"""Regions, ARNs, hosts and paths."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, sent_by
from tests.unit.providers.bedrock.signed import AGENT, ARN, MODEL, PAIR, Bodies, rerank, sent

from anyrerank import (
    ConfigurationError,
)

RUNTIME = "https://bedrock-runtime.us-west-2.amazonaws.com"
INVOKE = "model/cohere.rerank-v3-5%3A0/invoke"


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
