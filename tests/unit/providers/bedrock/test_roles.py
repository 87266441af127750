"""Roles that are assumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, answering
from tests.unit.providers.bedrock.signed import MODEL, PAIR, REGION, ROWS, SIGNED, sent

import anyrerank

ROLE = "arn:aws:iam::123456789012:role/reranking"


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
