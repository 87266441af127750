"""IBM watsonx.ai (https://cloud.ibm.com/apidocs/watsonx-ai#text-rerank).

An API key is exchanged at IBM's IAM for a token, which is kept until a minute before it expires; `token` is a ready
one, `zen_api_key` the key of an installation of one's own. Scores are logits.
"""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from typing_extensions import Self, override

from anyrerank._core.runtime import Flow, HttpRequest, HttpResponse
from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.errors import AuthenticationError, RateLimitError, RerankError
from anyrerank.providers._base import NOTHING_ASKED, Provider, Setting, dig, endpoint, json_or_none, ranked, usage

_MARGIN_SECONDS = 60
_GRANT = "urn:ibm:params:oauth:grant-type:apikey"
_KEY_REFUSED = "BXNIM0415E"
_FORMS = {"token": "Bearer", "zen_api_key": "ZenApiKey"}
_SPACE_VARIABLES = ("WATSONX_DEPLOYMENT_SPACE_ID", "WATSONX_SPACE_ID", "WX_SPACE_ID")
_KEPT = 64
_tokens: dict[tuple[str, str], tuple[str, float]] = {}
"""(token, time of the monotonic clock at which it is no longer used) by IAM address and key."""


class Watsonx(Provider):
    """`truncate_input_tokens` cuts each text. One of `project_id` and `space_id` is needed."""

    prefix = "watsonx"
    title = "IBM watsonx.ai"
    key_variables = ("WATSONX_APIKEY", "WATSONX_API_KEY", "WX_API_KEY")
    base_variables = ("WATSONX_API_BASE", "WATSONX_URL", "WX_URL", "WML_URL")
    options = frozenset({"truncate_input_tokens"})
    scale = "logit"
    settings = MappingProxyType(
        {
            "token": Setting(about="ready IAM token", variables=("WATSONX_TOKEN",), secret=True, sent=True),
            "zen_api_key": Setting(about="key on premises", variables=("WATSONX_ZENAPIKEY",), secret=True, sent=True),
            "project_id": Setting(about="project", variables=("WATSONX_PROJECT_ID", "WX_PROJECT_ID")),
            "space_id": Setting(about="deployment space", variables=_SPACE_VARIABLES),
            "iam_url": Setting(about="address of the IAM", variables=("WATSONX_IAM_URL",)),
            "api_version": Setting(about="date of the API (2024-03-13)"),
        }
    )

    @property
    @override
    def key_required(self) -> bool:
        return not self.connection.settings.keys() & {"token", "zen_api_key"}

    @override
    def check(self) -> None:
        super().check()
        if not self.connection.settings.keys() & {"project_id", "space_id"}:
            _ = self.setting("project_id")

    @override
    def authorization(self) -> dict[str, str]:
        name = self.chosen(*_FORMS, "api_key")
        return {"authorization": f"{_FORMS[name]} {self.connection.settings[name]}"} if name in _FORMS else {}

    @override
    def authorized(self) -> Flow[Self]:
        key = self.connection.api_key
        if key is None or self.authorization() or self.has_own_header:
            return self
        token, until = _tokens.get((self._iam, key), ("", 0.0))
        if time.monotonic() >= until:
            token = yield from self._exchange(key)
        return type(self)(self.connection.holding(token=token))

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        held = (self._iam, self.connection.api_key or "")
        was_kept = held in _tokens
        try:
            return (yield from super().flow(request))
        except AuthenticationError:
            if _tokens.pop(held, None) is None or not was_kept:
                raise
        return (yield from super().flow(request))

    @property
    def _iam(self) -> str:
        address = self.connection.settings.get("iam_url") or "https://iam.cloud.ibm.com"
        is_whole = urlsplit(address).path.rstrip("/").endswith("/token")
        return endpoint(address, "token" if is_whole else "identity/token", root="")

    @override
    def url(self, request: RerankRequest) -> str:
        parts = urlsplit(endpoint(self.base, "ml/v1/text/rerank", root=""))
        query = {"version": self.connection.settings.get("api_version") or "2024-03-13", **dict(parse_qsl(parts.query))}
        return urlunsplit((*parts[:3], urlencode(query), ""))

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        place = self.chosen("project_id", "space_id")
        returned = {} if request.top_n is None else {"return_options": {"top_n": request.top_n}}
        parameters = {**request.options, **returned}
        return {
            "model_id": self.connection.model,
            **({place: self.connection.settings[place]} if place else {}),
            "query": request.query,
            "inputs": [{"text": text} for text in texts_of(request)],
            **({"parameters": parameters} if parameters else {}),
        }

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        tokens = dig(body, "input_token_count")
        return Answer(
            scores=ranked(body, request, rows="results", score="score"),
            meta=usage(total_tokens=tokens, input_tokens=tokens),
        )

    @override
    def error_code(self, response: HttpResponse, body: Any) -> str | None:
        return next(iter(_error_codes(body)), None)

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        special = {_KEY_REFUSED: AuthenticationError, "token_quota_reached": RateLimitError}
        found = (special[code] for code in _error_codes(body) if code in special)
        return next(found, None) or super().error_class(response, body)

    def _exchange(self, key: str) -> Flow[str]:
        asked = HttpRequest(
            method="POST",
            url=self._iam,
            headers={"accept": "application/json", "content-type": "application/x-www-form-urlencoded"},
            content=urlencode({"grant_type": _GRANT, "apikey": key}).encode(),
        )
        response: HttpResponse = yield asked
        if response.status != 200:
            raise self.error(NOTHING_ASKED, response)
        body = json_or_none(response.content)
        token, seconds = dig(body, "access_token"), dig(body, "expires_in")
        if not isinstance(token, str) or type(seconds) is not int:
            raise self.locked_out("IBM's IAM answered without a token: check iam_url")
        for oldest in list(_tokens)[: max(0, len(_tokens) - _KEPT + 1)]:
            _tokens.pop(oldest, None)
        _tokens[self._iam, key] = (token, time.monotonic() + seconds - _MARGIN_SECONDS)
        return token


def _error_codes(body: Any) -> list[str]:
    """The codes in an error of watsonx.ai, and the one in an error of IBM's IAM."""
    errors = dig(body, "errors")
    codes = [dig(each, "code") for each in errors] if isinstance(errors, list) else []
    return [code for code in (*codes, dig(body, "errorCode")) if isinstance(code, str)]
