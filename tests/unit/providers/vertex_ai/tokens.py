"""Calls to Vertex AI with access tokens."""

from __future__ import annotations

from typing import Any

from tests.support.loopback import Loopback

MODEL = "vertex_ai/semantic-ranker-default-004"
RECORDS = {"records": [{"id": "1", "score": 0.75}, {"id": "0", "score": 0.5}, {"id": "2"}]}
REFRESH_TOKEN = "1//refresh-me-0Q7xV"
CLIENT_SECRET = "client-s3cret-9Zk2"


def path(project: str, location: str = "global") -> str:
    return f"/v1/projects/{project}/locations/{location}/rankingConfigs/default_ranking_config:rank"


def service_account(pem: str, google: Loopback, **more: Any) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "of-the-account",
        "private_key_id": "kid-1",
        "private_key": pem,
        "client_email": "ranker@of-the-account.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{google.url}/token",
        **more,
    }


def ranked(google: Loopback) -> list[tuple[str, str, str | None]]:
    return [
        (hit.target, hit.headers["authorization"], hit.headers.get("x-goog-user-project"))
        for hit in google.hits
        if hit.target != "/token"
    ]
