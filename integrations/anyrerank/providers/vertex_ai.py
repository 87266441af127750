"""Google Vertex AI: the ranking API of Discovery Engine.

https://cloud.google.com/generative-ai-app-builder/docs/ranking. The key is an OAuth access token, given as `api_key` or
`access_token`; without one google-auth (extra `vertex`) finds credentials. The API reports no usage, so search units
are an estimate: one for each 100 documents. A score of 0 is left out of the answer, as protocol buffers do.
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

from anyrerank._core.runtime import Blocking, Flow, HttpResponse, needed
from anyrerank._core.types import Answer, Document, RerankRequest, text_of
from anyrerank.errors import APIConnectionError, AuthenticationError
from anyrerank.providers._base import (
    Provider,
    Setting,
    UnusableAnswerError,
    dig,
    endpoint,
    estimated_units,
    ranked,
    whole_number,
)

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class VertexAi(Provider):
    """200 records a request; a mapping's `title` is ranked with its text.

    Locations besides `global` are not documented for ranking. `vertex_quota_project` is the project in
    `X-Goog-User-Project`, by default `vertex_project`; False sends none, for a service account that may not name one.
    """

    prefix = "vertex_ai"
    title = "Google Vertex AI"
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
                about="service account or other: a path, JSON, or a mapping; by default google-auth looks for them",
                variables=("VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"),
                secret=True,
            ),
            "vertex_project": Setting(
                about="project", variables=("VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT"), sent=True
            ),
            "vertex_location": Setting(about="location (global)", variables=("VERTEXAI_LOCATION",)),
            "vertex_quota_project": Setting(about="project that is billed for quota, or False", sent=True),
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
            raise self.misconfigured(
                f"vertex_credentials is a path, JSON or a mapping, not {type(source).__name__}; for credentials of "
                "google-auth pass their token as api_key="
            )
        if (urlsplit(self.base).hostname or "").endswith("aiplatform.googleapis.com"):
            raise self.misconfigured(
                "ranking is at discoveryengine.googleapis.com, not at aiplatform: leave api_base out"
            )

    @override
    def secrets(self) -> list[str]:
        # of a file's path, which is not sent, `credentials` would be cut out of what Google says of them
        source = str(self.connection.settings.get("vertex_credentials"))
        return [secret for secret in super().secrets() if secret != source]

    @override
    def authorization(self) -> dict[str, str]:
        token = self.connection.settings.get("access_token") or self.connection.api_key
        return {"authorization": f"Bearer {token}"} if token else {}

    @override
    def headers(self) -> dict[str, str]:
        held = self.connection.settings
        project = held.get("vertex_quota_project", held.get("vertex_project"))
        return {**({"x-goog-user-project": str(project)} if project else {}), **super().headers()}

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        try:
            return (yield from super().flow(request))
        except AuthenticationError:
            _credentials.cache_clear()  # a file with new ones may be there by the next call
            raise

    @override
    def authorized(self) -> Flow[Self]:
        if self.authorization() or self.has_own_header:
            return self
        held = dict(self.connection.settings)
        try:
            token, project = yield Blocking(lambda: _token(held.get("vertex_credentials")), bounded=True)
        except _CredentialsError as problem:
            raise self.locked_out(f"no Google credentials: {problem}") from None
        except _UnreachableError as problem:
            raise APIConnectionError(str(problem), provider=self.prefix, model=self.connection.model) from None
        settings = {**({"vertex_project": project} if project else {}), **held, "access_token": token}
        return type(self)(replace(self.connection, settings=settings))

    @override
    def url(self, request: RerankRequest) -> str:
        parts = urlsplit(self.base)
        if (path := parts.path.rstrip("/")).endswith(":rank"):
            return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
        project = quote(self.setting("vertex_project"), safe="")
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
        seconds = (_SECONDS.fullmatch(delay) for delay in delays if isinstance(delay, str))
        said = next((float(found[1]) for found in seconds if found), None)
        return super().retry_after(response, body) if said is None else said


_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


def _record(document: Document, request: RerankRequest) -> dict[str, str]:
    title = None if isinstance(document, str) or request.rank_fields else document.get("title")
    return {**({"title": title} if isinstance(title, str) else {}), "content": text_of(document, request.rank_fields)}


def _row(record: Any) -> Any:
    """A record with its id as the index that it spells; what is none is left for the check."""
    name = dig(record, "id")
    if not isinstance(name, str):
        return None
    return {"id": whole_number(name), "score": record.get("score", 0.0)}


class _CredentialsError(Exception):
    """What keeps a token from being had, without anything secret."""


class _UnreachableError(Exception):
    """The server that gives tokens is not there, which may pass."""


def _token(source: Any) -> tuple[str, str | None]:
    """An access token, and the project that the credentials belong to."""
    needed("google.auth", "vertex")
    exceptions = needed("google.auth.exceptions", "vertex")
    if isinstance(source, Mapping):
        source = json.dumps(dict(source), default=str)
    credentials, project = _credentials(None if source is None else os.fspath(source))
    try:
        if not credentials.valid:
            credentials.refresh(needed("google.auth.transport.requests", "vertex").Request())
    except exceptions.TransportError:
        raise _UnreachableError("the server that gives Google's tokens cannot be reached") from None
    except exceptions.RefreshError as error:
        if error.retryable:
            raise _UnreachableError("the server that gives Google's tokens is failing") from None
        raise _CredentialsError(f"they were refused or have expired ({str(error.args[0])[:120]})") from None
    except exceptions.GoogleAuthError:
        raise _CredentialsError(_INCOMPLETE) from None
    return credentials.token, project


_INCOMPLETE = "what vertex_credentials holds is not complete, or its key cannot be read"


@lru_cache(maxsize=8)
def _credentials(source: str | None) -> tuple[Any, str | None]:
    """Credentials of google-auth, which keep their token until it expires, and their project."""
    if source is None:
        return _default_credentials()
    text = source if source.lstrip().startswith("{") else _file(source)
    try:
        held = json.loads(text)
    except ValueError:
        raise _CredentialsError("what vertex_credentials names is not JSON") from None
    if not isinstance(held, dict) or "type" not in held:
        raise _CredentialsError("what vertex_credentials names is JSON, but no credentials: it has no 'type'")
    try:
        return _of_type(held), held.get("project_id")
    except (ValueError, TypeError, AttributeError):
        raise _CredentialsError(_INCOMPLETE) from None


def _of_type(held: dict[str, Any]) -> Any:
    """Credentials of any type; of the rarer ones google-auth warns, as they may name programs and addresses to ask."""
    if held["type"] == "service_account":
        account = needed("google.oauth2.service_account", "vertex")
        return account.Credentials.from_service_account_info(held, scopes=[_SCOPE])
    if held["type"] == "authorized_user":
        user = needed("google.oauth2.credentials", "vertex")
        return user.Credentials.from_authorized_user_info(held, scopes=[_SCOPE])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return needed("google.auth", "vertex").load_credentials_from_dict(held, scopes=[_SCOPE])[0]
    except needed("google.auth.exceptions", "vertex").DefaultCredentialsError:
        raise _CredentialsError(
            "vertex_credentials are of a type that google-auth does not know, or are not complete; most are a "
            "service_account, an authorized_user or an external_account (workload identity)"
        ) from None


def _default_credentials() -> tuple[Any, str | None]:
    try:
        found: tuple[Any, str | None] = needed("google.auth", "vertex").default(scopes=[_SCOPE])
    except needed("google.auth.exceptions", "vertex").DefaultCredentialsError:
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
            f"the file that vertex_credentials names cannot be read: {type(error).__name__}"
        ) from None
