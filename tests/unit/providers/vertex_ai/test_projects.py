"""Projects, locations and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode, sent_by
from tests.support.loopback import Loopback
from tests.unit.providers.vertex_ai.tokens import MODEL, path, ranked

from anyrerank import ConfigurationError

HOST = "https://discoveryengine.googleapis.com"


@pytest.mark.parametrize(
    ("options", "environment", "project", "quota"),
    [
        ({}, {}, "of-the-account", "of-the-account"),
        ({}, {"GOOGLE_CLOUD_PROJECT": "p-2"}, "p-2", "p-2"),
        ({}, {"VERTEXAI_PROJECT": "p-1", "GOOGLE_CLOUD_PROJECT": "p-2"}, "p-1", "p-1"),
        ({"vertex_project": "p-0"}, {"VERTEXAI_PROJECT": "p-1"}, "p-0", "p-0"),
        ({"vertex_project": "p-0", "vertex_quota_project": "p-q"}, {}, "p-0", "p-q"),
        ({"vertex_quota_project": False}, {}, "of-the-account", None),
        ({"vertex_quota_project": None}, {}, "of-the-account", "of-the-account"),
        ({"headers": {"X-Goog-User-Project": "p-h"}}, {}, "of-the-account", "p-h"),
    ],
)
def test_project_comes_from_argument_environment_or_credentials(
    *,
    options: dict[str, Any],
    environment: Mapping[str, str],
    project: str,
    quota: str | None,
    account: Mapping[str, Any],
    google: Loopback,
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = {"api_base": google.url, "vertex_credentials": account, **options}
    mode.rerank(mode.reranker(MODEL, api_key=None, **options), QUERY, DOCUMENTS)
    assert ranked(google) == [(path(project), "Bearer ya29.token-1", quota)]


def test_missing_project_names_the_variables(user: Mapping[str, Any], google: Loopback, mode: Mode) -> None:
    reranker = mode.reranker(MODEL, api_key=None, api_base=google.url, vertex_credentials=user)
    with pytest.raises(ConfigurationError) as caught:
        mode.rerank(reranker, QUERY, DOCUMENTS)
    for name in ("vertex_project", "VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        assert name in caught.value.message
    assert ranked(google) == []


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, f"{HOST}{path('acme')}"),
        ({"vertex_location": "eu"}, f"{HOST}{path('acme', 'eu')}"),
        ({"vertex_location": "eu/x"}, f"{HOST}{path('acme', 'eu%2Fx')}"),
        (
            {"api_base": "https://eu-discoveryengine.googleapis.com"},
            f"https://eu-discoveryengine.googleapis.com{path('acme')}",
        ),
        ({"api_base": "https://gw.example/google"}, f"https://gw.example/google{path('acme')}"),
        ({"api_base": "https://gw.example/rank/it:rank"}, "https://gw.example/rank/it:rank"),
        ({"api_base": "https://gw.example/rank/it:rank/"}, "https://gw.example/rank/it:rank"),
        ({"api_base": "https://gw.example/it:rank?t=1", "vertex_location": "eu"}, "https://gw.example/it:rank?t=1"),
    ],
)
def test_url_composition(options: dict[str, str], url: str, sync_mode: Mode) -> None:
    assert str(sent_by(sync_mode, MODEL, vertex_project="acme", **options).url) == url


def test_full_url_needs_no_project(mode: Mode) -> None:
    request = sent_by(mode, MODEL, api_base="https://gw.example/rank/it:rank")
    assert str(request.url) == "https://gw.example/rank/it:rank"
    assert "x-goog-user-project" not in request.headers


@pytest.mark.parametrize("host", ["aiplatform.googleapis.com", "europe-west4-aiplatform.googleapis.com"])
def test_aiplatform_host_raises(host: str, mode: Mode) -> None:
    with pytest.raises(ConfigurationError, match=r"discoveryengine\.googleapis\.com"):
        sent_by(mode, MODEL, vertex_project="acme", api_base=f"https://{host}/v1")
