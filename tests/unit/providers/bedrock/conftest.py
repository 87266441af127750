"""AWS without the credentials of this machine."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.parsers
import botocore.session
import pytest
from tests.support.loopback import Line, Loopback
from tests.unit.providers.bedrock.signed import AGENT, PAIR, Bodies

from anyrerank.providers._base import aws_session_for


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


@pytest.fixture
def profile(tmp_path: Path) -> None:
    (tmp_path / "aws_config_file").write_text("[default]\nregion = eu-west-1\n[profile work]\nregion = ca-central-1\n")
    (tmp_path / "aws_shared_credentials_file").write_text(
        "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = s-default\n"
        "[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s-work\naws_session_token = t-work\n"
    )


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
