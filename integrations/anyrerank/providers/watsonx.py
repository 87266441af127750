"""IBM watsonx.ai (https://cloud.ibm.com/apidocs/watsonx-ai#text-rerank).

An API key is exchanged for a token at IBM Cloud's IAM; a user name, with a password or an API key, at the installation
on premises (https://www.ibm.com/docs/SSQNUZ_5.0.x/dev/prev-generate-token.html). Tokens are cached,
those of IAM until a minute before they expire.
"""

from __future__ import annotations

import json
import time
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from typing_extensions import Self, override

from anyrerank._core.runtime import Flow, HttpRequest, HttpResponse
from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.errors import AuthenticationError, RateLimitError, RerankError
from anyrerank.providers._base import EMPTY_REQUEST, Provider, Setting, dig, endpoint, json_or_none, ranked, usage

_MARGIN_SECONDS = 60
_GRANT = "urn:ibm:params:oauth:grant-type:apikey"
_ERRORS: dict[str, type[RerankError]] = {"BXNIM0415E": AuthenticationError, "token_quota_reached": RateLimitError}
"""Error codes whose class is not that of their status: IAM does not know the key, and the quota is used up."""
_SCHEMES = {"token": "Bearer", "zen_api_key": "ZenApiKey"}
_SPACE_VARIABLES = ("WATSONX_DEPLOYMENT_SPACE_ID", "WATSONX_SPACE_ID", "WX_SPACE_ID")
MAX_TOKENS_CACHED = 64
tokens: dict[tuple[str, ...], tuple[str, float]] = {}
"""Tokens and the monotonic times until which they are used, by address and credentials."""
_LIFETIME_ON_PREMISES = 3600
"""Seconds for which a token is used whose lifetime is not reported; one that is refused earlier is renewed."""


class Watsonx(Provider):
    """Scores are logits. One of `project_id` and `space_id` is required. `truncate_input_tokens` limits each text.

    Authenticate with an IBM Cloud API key or with an IAM token. For an installation on premises, pass `zen_api_key`, or
    `username` with `password` or `api_key`.
    """

    prefix = "watsonx"
    title = "IBM watsonx.ai"
    key_page = "https://cloud.ibm.com/iam/apikeys"
    key_variables = ("WATSONX_APIKEY", "WATSONX_API_KEY", "WX_API_KEY")
    base_variables = ("WATSONX_API_BASE", "WATSONX_URL", "WX_URL", "WML_URL")
    options = frozenset({"truncate_input_tokens"})
    scale = "logit"
    settings = MappingProxyType(
        {
            "token": Setting(about="IAM token, instead of a key", variables=("WATSONX_TOKEN",), secret=True, sent=True),
            "zen_api_key": Setting(
                about="API key of an installation on premises", variables=("WATSONX_ZENAPIKEY",), secret=True, sent=True
            ),
            "username": Setting(about="user of an installation on premises", variables=("WATSONX_USERNAME",)),
            "password": Setting(
                about="password of the user, instead of a key", variables=("WATSONX_PASSWORD",), secret=True
            ),
            "project_id": Setting(about="id of the project", variables=("WATSONX_PROJECT_ID", "WX_PROJECT_ID")),
            "space_id": Setting(about="id of the deployment space", variables=_SPACE_VARIABLES),
            "iam_url": Setting(about="base URL of the IAM service", variables=("WATSONX_IAM_URL",)),
            "api_version": Setting(about="date of the API version (2024-03-13)"),
        }
    )

    @property
    @override
    def key_required(self) -> bool:
        return not self.connection.settings.keys() & {"token", "zen_api_key", "password"}

    @override
    def check(self) -> None:
        if self.key_required and not self.connection.api_key and not self.has_auth_header:
            raise self.authentication_error(
                f"no API key for {self.title}: pass api_key=, token=, zen_api_key=, or username= and password=, or set "
                f"{' or '.join((*self.key_variables, 'WATSONX_TOKEN', 'WATSONX_ZENAPIKEY', 'WATSONX_PASSWORD'))}"
            )
        if self._credential == "password":
            _ = self.required_setting("username")
        super().check()
        if not self.connection.settings.keys() & {"project_id", "space_id"}:
            _ = self.required_setting("project_id")

    @override
    def authorization(self) -> dict[str, str]:
        name = self._credential
        return {"authorization": f"{_SCHEMES[name]} {self.connection.settings[name]}"} if name in _SCHEMES else {}

    @override
    def authorized(self) -> Flow[Self]:
        if self._credential in (None, *_SCHEMES) or self.has_auth_header:
            return self
        token, until = tokens.get(self._exchanged, ("", 0.0))
        if time.monotonic() >= until:
            token = yield from self._fetch_token()
        return type(self)(self.connection.with_settings(token=token))

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        cache_key = self._exchanged
        was_cached = cache_key in tokens
        try:
            return (yield from super().flow(request))
        except AuthenticationError:
            if tokens.pop(cache_key, None) is None or not was_cached:
                raise
        return (yield from super().flow(request))  # the cached token may have been revoked: try once with a new one

    @property
    def _credential(self) -> str | None:
        """The credential that is used."""
        return self.select_setting(*_SCHEMES, "password", "api_key")

    @property
    def _exchanged(self) -> tuple[str, ...]:
        """Where a token is fetched, and the credentials for it."""
        settings, key = self.connection.settings, self.connection.api_key or ""
        if "username" not in settings:
            return (self._iam_url, key)
        parts = urlsplit(self.base)
        url = urlunsplit((parts.scheme, parts.netloc, "/icp4d-api/v1/authorize", "", ""))
        name = "password" if self._credential == "password" else "api_key"
        return (url, str(settings["username"]), name, str(settings.get("password") if name == "password" else key))

    @property
    def _iam_url(self) -> str:
        base = self.connection.settings.get("iam_url") or "https://iam.cloud.ibm.com"
        is_endpoint = urlsplit(base).path.rstrip("/").endswith("/token")
        return endpoint(base, "token" if is_endpoint else "identity/token", root="")

    @override
    def url(self, request: RerankRequest) -> str:
        parts = urlsplit(endpoint(self.base, "ml/v1/text/rerank", root=""))
        query = {"version": self.connection.settings.get("api_version") or "2024-03-13", **dict(parse_qsl(parts.query))}
        return urlunsplit((*parts[:3], urlencode(query), ""))

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        container = self.select_setting("project_id", "space_id")
        return_options = {} if request.top_n is None else {"return_options": {"top_n": request.top_n}}
        parameters = {**request.options, **return_options}
        return {
            "model_id": self.connection.model,
            **({container: self.connection.settings[container]} if container else {}),
            "query": request.query,
            "inputs": [{"text": text} for text in texts_of(request)],
            **({"parameters": parameters} if parameters else {}),
        }

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        count = dig(body, "input_token_count")
        return Answer(
            scores=ranked(body, request, rows="results", score="score"),
            meta=usage(total_tokens=count, input_tokens=count),
        )

    @override
    def error_code(self, response: HttpResponse, body: Any) -> str | None:
        return next(iter(_error_codes(body)), None)

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        found = (_ERRORS[code] for code in _error_codes(body) if code in _ERRORS)
        return next(found, None) or super().error_class(response, body)

    def _fetch_token(self) -> Flow[str]:
        exchanged = self._exchanged
        url, *credentials = exchanged
        on_premises = len(credentials) > 1
        response: HttpResponse = yield _authorize(url, *credentials) if on_premises else _iam(url, *credentials)
        if response.status != 200:
            raise self.error(EMPTY_REQUEST, response)
        body = json_or_none(response.content)
        token = dig(body, "token" if on_premises else "access_token")
        seconds = _LIFETIME_ON_PREMISES if on_premises else dig(body, "expires_in")
        if not isinstance(token, str) or type(seconds) is not int:
            where = "the installation answered without a token: check api_base and username"
            raise self.authentication_error(
                where if on_premises else "IBM's IAM answered without a token: check iam_url"
            )
        for oldest in list(tokens)[: max(0, len(tokens) - MAX_TOKENS_CACHED + 1)]:
            tokens.pop(oldest, None)
        tokens[exchanged] = (token, time.monotonic() + seconds - _MARGIN_SECONDS)
        return token


def _iam(url: str, key: str) -> HttpRequest:
    return HttpRequest(
        method="POST",
        url=url,
        headers={"accept": "application/json", "content-type": "application/x-www-form-urlencoded"},
        content=urlencode({"grant_type": _GRANT, "apikey": key}).encode(),
    )


def _authorize(url: str, username: str, name: str, value: str) -> HttpRequest:
    return HttpRequest(
        method="POST",
        url=url,
        headers={"accept": "application/json", "content-type": "application/json"},
        content=json.dumps({"username": username, name: value}).encode(),
    )


def _error_codes(body: Any) -> list[str]:
    """The codes in an error of watsonx.ai, and the one in an error of IAM."""
    errors = dig(body, "errors")
    codes = [dig(each, "code") for each in errors] if isinstance(errors, list) else []
    return [code for code in (*codes, dig(body, "errorCode")) if isinstance(code, str)]
