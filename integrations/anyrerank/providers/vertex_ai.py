"""Google Vertex AI: the ranking API of Discovery Engine.

https://cloud.google.com/generative-ai-app-builder/docs/ranking. The API reports no usage, so search units are an
estimate: one for each 100 documents. Protocol buffers omit zeros, so a record without a score has the score 0.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from typing_extensions import Self, override

from anyrerank._core.runtime import Blocking, Flow, HttpResponse, check_installed, import_optional
from anyrerank._core.types import Answer, Document, RerankRequest, text_of
from anyrerank.errors import APIConnectionError, AuthenticationError
from anyrerank.providers._base import (
    Provider,
    Setting,
    UnusableAnswerError,
    dig,
    endpoint,
    estimated_units,
    int_or_text,
    is_endpoint,
    ranked,
)

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
_INCOMPLETE = "vertex_credentials are incomplete, or their key cannot be read"


class VertexAi(Provider):
    """At most 200 documents per request. The `title` of a mapping is ranked together with its text.

    Authenticate with an OAuth access token as `api_key` or `access_token`, or let google-auth (extra `vertex`) find
    credentials. Only the location `global` is documented for ranking. `vertex_quota_project` is sent as
    `X-Goog-User-Project` and defaults to `vertex_project`; pass False for a service account that may not use it.
    """

    prefix = "vertex_ai"
    title = "Google Vertex AI"
    key_page = "https://cloud.google.com/docs/authentication/provide-credentials-adc"
    sends_mappings = True
    ranks_mappings = True
    default_base = "https://discoveryengine.googleapis.com"
    needs_key = False
    extra = "vertex"
    options = frozenset({"user_labels"})
    scale = "unit"
    documents_per_request = 200
    settings = MappingProxyType(
        {
            "access_token": Setting(about="OAuth access token", secret=True, sent=True),
            "vertex_credentials": Setting(
                about="credentials as a path, JSON or a mapping; by default google-auth looks for them",
                variables=("VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"),
                secret=True,
            ),
            "vertex_project": Setting(
                about="id of the project", variables=("VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT"), sent=True
            ),
            "vertex_location": Setting(about="location (default: global)", variables=("VERTEXAI_LOCATION",)),
            "vertex_quota_project": Setting(about="project whose quota is used, or False", sent=True),
            "vertex_ai_credentials": Setting(
                about="another name of vertex_credentials", secret=True, same_as="vertex_credentials"
            ),
            "vertex_ai_project": Setting(about="another name of vertex_project", sent=True, same_as="vertex_project"),
            "vertex_ai_location": Setting(about="another name of vertex_location", same_as="vertex_location"),
        }
    )

    @property
    @override
    def price_names(self) -> tuple[str, ...]:
        return (*super().price_names, f"{self.prefix}/*")

    @override
    def check(self) -> None:
        super().check()
        source = self.connection.settings.get("vertex_credentials")
        if source is not None and not isinstance(source, str | os.PathLike | Mapping):
            raise self.configuration_error(
                f"vertex_credentials must be a path, JSON or a mapping, got {type(source).__name__}; to use a "
                "google-auth object, pass its token as api_key="
            )
        if (urlsplit(self.base).hostname or "").endswith("aiplatform.googleapis.com"):
            raise self.configuration_error(
                "the ranking API is at discoveryengine.googleapis.com, not at aiplatform.googleapis.com: do not pass "
                "api_base"
            )
        if not (self.authorization() or self.has_auth_header):
            check_installed("google.auth", "vertex")

    @override
    def secrets(self) -> list[str]:
        # a path is not sent, and words in it such as `credentials` would hide Google's messages
        source = str(self.connection.settings.get("vertex_credentials"))
        return [secret for secret in super().secrets() if secret != source]

    @override
    def authorization(self) -> dict[str, str]:
        token = self.connection.settings.get("access_token") or self.connection.api_key
        return {"authorization": f"Bearer {token}"} if token else {}

    @override
    def headers(self) -> dict[str, str]:
        settings = self.connection.settings
        project = settings.get("vertex_quota_project", settings.get("vertex_project"))
        return {**({"x-goog-user-project": str(project)} if project else {}), **super().headers()}

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        try:
            return (yield from super().flow(request))
        except AuthenticationError:
            credentials_for.cache_clear()  # the next call may find new credentials
            raise

    @override
    def authorized(self) -> Flow[Self]:
        if self.authorization() or self.has_auth_header:
            return self
        settings = self.connection.settings
        source = settings.get("vertex_credentials")
        try:
            token, project = yield Blocking(lambda: _token(source), bounded=True)
        except _CredentialsError as error:
            raise self.authentication_error(f"no Google credentials: {error}") from None
        except _UnreachableError as error:
            raise APIConnectionError(str(error), provider=self.prefix, model=self.connection.model) from None
        default = {"vertex_project": project} if project else {}
        return type(self)(replace(self.connection, settings={**default, **settings, "access_token": token}))

    @override
    def url(self, request: RerankRequest) -> str:
        parts = urlsplit(self.base)
        if "/rankingConfigs/" in (path := parts.path.rstrip("/")) or is_endpoint(path):
            path = path if is_endpoint(path) else f"{path}:rank"
            return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
        project = quote(self.required_setting("vertex_project"), safe="")
        location = quote(self.connection.settings.get("vertex_location") or "global", safe="")
        config = f"projects/{project}/locations/{location}/rankingConfigs/default_ranking_config:rank"
        return endpoint(self.base, config)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        labels = request.options.get("user_labels")
        return {
            "model": self.connection.model,
            "query": request.query,
            "records": [
                {"id": str(index), **_record(document, request)} for index, document in enumerate(request.documents)
            ],
            "ignoreRecordDetailsInResponse": True,
            **({"userLabels": labels} if labels else {}),
            **({} if request.top_n is None else {"topN": request.top_n}),
        }

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        records = dig(body, "records")
        if not isinstance(records, list):
            raise UnusableAnswerError("the answer has no list 'records'")
        return Answer(
            scores=ranked([_row(record) for record in records], request, rows="", index="id", score="score"),
            meta=estimated_units(request),
        )

    @override
    def retry_after(self, response: HttpResponse, body: Any) -> float | None:
        details = dig(body, "error", "details")
        delays = [dig(each, "retryDelay") for each in details] if isinstance(details, list) else []
        matches = (_SECONDS.fullmatch(delay) for delay in delays if isinstance(delay, str))
        seconds = next((float(match[1]) for match in matches if match), None)
        return super().retry_after(response, body) if seconds is None else seconds


def _record(document: Document, request: RerankRequest) -> dict[str, str]:
    title = None if isinstance(document, str) or request.rank_fields else document.get("title")
    return {**({"title": title} if isinstance(title, str) else {}), "content": text_of(document, request.rank_fields)}


def _row(record: Any) -> Any:
    """A record with its id as an integer; `ranked` checks the rest."""
    record_id = dig(record, "id")
    if not isinstance(record_id, str):
        return None
    return {"id": int_or_text(record_id), "score": record.get("score", 0.0)}


class _CredentialsError(Exception):
    """Why there is no token; the message holds no secret."""


class _UnreachableError(Exception):
    """The token server cannot be reached or fails, which may be temporary."""


def _token(source: Any) -> tuple[str, str | None]:
    """An access token, and the project of the credentials."""
    import_optional("google.auth", "vertex")
    exceptions = import_optional("google.auth.exceptions", "vertex")
    if isinstance(source, Mapping):
        source = json.dumps(dict(source), default=str)
    credentials, project = credentials_for(None if source is None else os.fspath(source))
    try:
        if not credentials.valid:
            credentials.refresh(import_optional("google.auth.transport.requests", "vertex").Request())
    except exceptions.TransportError:
        raise _UnreachableError("Google's token server cannot be reached") from None
    except exceptions.RefreshError as error:
        if error.retryable:
            raise _UnreachableError("Google's token server is failing") from None
        raise _CredentialsError(f"they were refused or have expired ({str(error.args[0])[:120]})") from None
    except exceptions.GoogleAuthError:
        raise _CredentialsError(_INCOMPLETE) from None
    return credentials.token, project


@lru_cache(maxsize=8)
def credentials_for(source: str | None) -> tuple[Any, str | None]:
    """Credentials of google-auth, which cache their token until it expires, and their project."""
    if source is None:
        return _default_credentials()
    text = source if source.lstrip().startswith("{") else _file(source)
    try:
        info = json.loads(text)
    except ValueError:
        raise _CredentialsError("vertex_credentials are not JSON") from None
    if not isinstance(info, dict) or "type" not in info:
        raise _CredentialsError("vertex_credentials must be a JSON object with a 'type'")
    try:
        return _of_type(info), info.get("project_id")
    except (ValueError, TypeError, AttributeError):
        raise _CredentialsError(_INCOMPLETE) from None


def _of_type(info: dict[str, Any]) -> Any:
    """Credentials of any type that google-auth knows."""
    if info["type"] == "service_account":
        account = import_optional("google.oauth2.service_account", "vertex")
        return account.Credentials.from_service_account_info(info, scopes=[_SCOPE])
    if info["type"] == "authorized_user":
        user = import_optional("google.oauth2.credentials", "vertex")
        return user.Credentials.from_authorized_user_info(info, scopes=[_SCOPE])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # google-auth warns that other types may run programs and call addresses
            return import_optional("google.auth", "vertex").load_credentials_from_dict(info, scopes=[_SCOPE])[0]
    except import_optional("google.auth.exceptions", "vertex").DefaultCredentialsError:
        raise _CredentialsError(
            "vertex_credentials are incomplete, or have a type that google-auth does not know; common types are "
            "service_account, authorized_user and external_account (workload identity)"
        ) from None


def _default_credentials() -> tuple[Any, str | None]:
    try:
        found: tuple[Any, str | None] = import_optional("google.auth", "vertex").default(scopes=[_SCOPE])
    except import_optional("google.auth.exceptions", "vertex").DefaultCredentialsError:
        raise _CredentialsError(
            "pass api_key=<access token> or vertex_credentials=, or set VERTEXAI_CREDENTIALS or "
            "GOOGLE_APPLICATION_CREDENTIALS"
        ) from None
    return found


def _file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _CredentialsError(
            f"the file named by vertex_credentials cannot be read: {type(error).__name__}"
        ) from None
